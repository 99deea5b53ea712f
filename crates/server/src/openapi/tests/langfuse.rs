//! What Langfuse's clients read has the fields that the document says.

use pcs_domain::Timestamp;
use serde_json::{Map, Value};

use super::document;
use crate::routes::langfuse::content::Content;
use crate::routes::langfuse::{Listed, Meta, Prompt, PromptMeta};

pub(super) fn rows() -> Vec<(&'static str, Value)> {
    let prompt = Prompt {
        name: String::new(),
        version: 1,
        content: Content::Text(String::new()),
        config: Map::new(),
        labels: Vec::new(),
        tags: Vec::new(),
        commit_message: None,
        resolution_graph: None,
    };
    let meta = PromptMeta {
        name: String::new(),
        r#type: "text",
        versions: Vec::new(),
        labels: Vec::new(),
        tags: Vec::new(),
        last_updated_at: Timestamp::EPOCH,
        last_config: Map::new(),
    };
    let listed = Listed { data: vec![meta], meta: Meta { page: 1, limit: 1, total_items: 1, total_pages: 1 } };
    let listed = serde_json::to_value(listed).unwrap();
    vec![
        ("LangfusePrompt", serde_json::to_value(prompt).unwrap()),
        ("LangfusePromptMeta", listed["data"][0].clone()),
        ("LangfuseMeta", listed["meta"].clone()),
        ("LangfusePrompts", listed),
    ]
}

#[test]
fn its_routes_take_a_key_as_a_password_and_answer_errors_in_its_form() {
    let document = document();
    assert_eq!(document["components"]["securitySchemes"]["langfuse"]["scheme"], "basic");
    for path in ["/api/public/v2/prompts", "/api/public/v2/prompts/{prompt_name}"] {
        let operation = &document["paths"][path]["get"];
        assert_eq!(operation["security"][0]["langfuse"], Value::Array(Vec::new()), "{path}");
        for status in ["400", "401", "403", "503", "default"] {
            let media = &operation["responses"][status]["content"]["application/json"];
            assert_eq!(media["schema"]["$ref"], "#/components/schemas/LangfuseError", "{path} {status}");
        }
    }
    let missing = &document["paths"]["/api/public/v2/prompts/{prompt_name}"]["get"]["responses"]["404"];
    assert!(missing.is_object());
    assert_eq!(document["paths"]["/api/public/health"]["get"]["security"], Value::Null, "health is for everybody");
}
