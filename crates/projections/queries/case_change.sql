-- A change of a case that an earlier page added: its place, its time, its input and its expectation stay. Of a data
-- subject the last two are sealed anew, together with the assertions.
update test_case c
set name = r.name, assertions = r.assertions, threshold = r.threshold, tags = r.tags, metadata = r.metadata,
    subject = r.subject, removed = r.removed
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, card_id uuid, case_id uuid, name text, assertions jsonb, threshold double precision, tags jsonb,
    metadata jsonb, subject jsonb,
    removed bool)
where c.tenant_id = r.tenant_id and c.card_id = r.card_id and c.case_id = r.case_id
