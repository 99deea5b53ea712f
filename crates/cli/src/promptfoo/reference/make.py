import json,yaml,sys
J=json.dumps
T=[]
def t(out,**a): T.append((out,a))
for out in ["hello world","Hello World","", "goodbye"]:
    t(out or " ",type="equals",value="hello world"); t(out or " ",type="contains",value="world"); t(out or " ",type="icontains",value="WORLD")
    t(out or " ",type="not-contains",value="world"); t(out or " ",type="starts-with",value="hello"); t(out or " ",type="regex",value="^[a-z ]+$")
    t(out or " ",type="contains-any",value=["x","world"]); t(out or " ",type="contains-all",value=["hello","world"]); t(out or " ",type="icontains-all",value=["HELLO","WORLD"])
    t(out or " ",type="icontains-any",value="x, HELLO"); t(out or " ",type="levenshtein",value="hello world",threshold=2); t(out or " ",type="not-levenshtein",value="hello world",threshold=2)
    t(out or " ",type="word-count",value=2); t(out or " ",type="word-count",value={"min":2,"max":3})
    t(out or " ",type="javascript",value="output.length > 8"); t(out or " ",type="javascript",value="output.length / 20",threshold=0.5); t(out or " ",type="not-javascript",value="output.length > 8")
    t(out or " ",type="javascript",value="const n = output.split(' ').length; return {pass: n === 2, score: n / 4, reason: 'x'};")
    t(out or " ",type="equals",value="HELLO WORLD",transform="output.toUpperCase()")
    t(out or " ",type="is-refusal"); 
for out in ['{"a": 1}','[1, 2]','"x"','not json','text {"a": 1} more','{"a": "x"}','{a: 1}']:
    t(out,type="is-json"); t(out,type="contains-json"); t(out,type="not-is-json")
    t(out,type="is-json",value={"type":"object","required":["a"],"properties":{"a":{"type":"number"}}})
    t(out,type="contains-json",value={"type":"object","required":["a"],"properties":{"a":{"type":"number"}}})
    t(out,type="equals",value={"a":1})
for out in ["<a><b>1</b></a>","<a>","text <a/> more","<a/><b/>","plain","<root><item id=\"1\"/></root>"]:
    t(out,type="is-xml"); t(out,type="contains-xml"); t(out,type="is-xml",value={"requiredElements":["a.b"]}); t(out,type="contains-xml",value={"requiredElements":["root.item"]})
for out in ["<p>hi</p>","<!DOCTYPE html><html><head></head><body><h1>x</h1></body></html>","text <b>x</b>","plain","<div><p>a</p></div>", "1 < 2"]:
    t(out,type="is-html"); t(out,type="contains-html"); t(out,type="not-is-html")
for out in ["SELECT a FROM t","SELECT id, name FROM users WHERE id = 1","selec a","DELETE FROM users","hello there","SELECT * FROM orders JOIN users ON orders.uid = users.id"]:
    t(out,type="is-sql"); t(out,type="is-sql",value={"databaseType":"PostgreSQL","allowedTables":["select::null::users"]})
    t("```sql\n"+out+"\n```",type="contains-sql")
R="The cat sat on the mat near the door"
for out in [R,"The cat sat on the mat","A dog ran","the mat the cat sat on near door the","The cat is sitting on a mat near the door"]:
    t(out,type="rouge-n",value=R); t(out,type="bleu",value=R); t(out,type="gleu",value=R); t(out,type="bleu",value=[R,"A dog ran"],threshold=0.4); t(out,type="meteor",value=R)
for out in ["I'm sorry, but I can't help with that.","As an AI language model, I cannot do it.","Sure, here you go","I apologize, but I am unable to"]:
    t(out,type="is-refusal"); t(out,type="not-is-refusal")
t("x",**{"type":"assert-set","assert":[{"type":"equals","value":"x"},{"type":"contains","value":"y"}]})
t("x",**{"type":"assert-set","threshold":0.5,"assert":[{"type":"equals","value":"x"},{"type":"contains","value":"y"}]})
t("x",**{"type":"assert-set","threshold":0.5,"assert":[{"type":"equals","value":"x","weight":1},{"type":"contains","value":"y","weight":3}]})
tests=[{"description":str(i),"vars":{"t":o},"assert":[a]} for i,(o,a) in enumerate(T)]
json.dump({"description":"reference","prompts":["{{t}}"],"providers":["echo"],"tests":tests},open("c.json","w"))
json.dump([{"output":o,"assert":a} for o,a in T],open("cases.json","w"))
print(len(T))
