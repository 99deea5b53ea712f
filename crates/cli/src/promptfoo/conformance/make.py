"""Runs promptfoo on every folder here that has a configuration, and writes down what it said (`said.json`)."""
import json, os, subprocess, sys, tempfile

here = os.path.dirname(os.path.abspath(__file__))
node, main = sys.argv[1], sys.argv[2]
for name in sorted(os.listdir(here)):
    folder = os.path.join(here, name)
    if not os.path.exists(os.path.join(folder, "promptfooconfig.yaml")):
        continue
    with tempfile.TemporaryDirectory() as home:
        out = os.path.join(home, "out.json")
        environment = dict(os.environ, PROMPTFOO_CONFIG_DIR=home, PROMPTFOO_DISABLE_TELEMETRY="1", PROMPTFOO_DISABLE_UPDATE="1")
        command = [node, main, "eval", "--no-table", "--no-progress-bar", "--no-cache", "-c", "promptfooconfig.yaml", "-o", out]
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        with open(out) as file:
            results = json.load(file)["results"]["results"]
    said = [
        {
            "prompt": result["prompt"]["raw"],
            "pass": result["success"],
            "score": result["score"],
            "parts": [[part["pass"], part["score"]] for part in (result.get("gradingResult") or {}).get("componentResults", [])],
        }
        for result in results
    ]
    with open(os.path.join(folder, "said.json"), "w") as file:
        json.dump(said, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(name, len(said))
