//! Where a call goes and which key goes with it: the key only ever travels to an address that the operator chose.

use std::collections::BTreeMap;

use pcs_domain::execution::FailureClass;
use pcs_domain::model::ModelSpec;
use reqwest::Url;

use crate::call::CallError;
use crate::config::{GatewayConfig, GatewayError, Secret};
use crate::kind::ProviderKind;

/// The addresses and keys of the settings.
pub(crate) struct Endpoints {
    own: BTreeMap<ProviderKind, Own>,
    allowed: Vec<Allowed>,
}

struct Own {
    url: Url,
    key: Option<Secret>,
    /// Whether `url` is the provider's public address; where it is, its prices hold and its key is needed.
    public: bool,
}

/// Where one call goes.
#[derive(Debug)]
pub(crate) struct Target {
    /// Ends in a slash.
    pub(crate) url: Url,
    pub(crate) key: Option<Secret>,
    /// Whether the provider's list prices hold there.
    pub(crate) priced: bool,
}

struct Allowed {
    url: Url,
    any_port: bool,
}

impl Endpoints {
    pub(crate) fn new(config: &GatewayConfig) -> Result<Self, GatewayError> {
        let mut own = BTreeMap::new();
        for kind in ProviderKind::ALL {
            let Some(public_url) = kind.public_base_url() else { continue };
            let configured = config.base_urls.get(&kind).map_or(public_url, String::as_str);
            let url = setting(configured)?;
            let public = kind != ProviderKind::Ollama && url == setting(public_url)?;
            own.insert(kind, Own { url, key: config.keys.get(&kind).cloned(), public });
        }
        let allowed = config.allowed_base_urls.iter().map(|text| Allowed::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { own, allowed })
    }

    /// Where a call of a model goes.
    pub(crate) fn target(&self, kind: ProviderKind, model: &ModelSpec) -> Result<Target, CallError> {
        if model.model().is_empty() {
            let message = format!("\"{}\" names no model: write {kind}:<model>", model.id);
            return Err(CallError::new(FailureClass::UnknownModel, message));
        }
        let Some(own) = self.own.get(&kind) else {
            return Err(CallError::new(FailureClass::UnknownModel, format!("{kind} has no address")));
        };
        let asked = model.base_url.as_deref().map(|text| self.permitted(text, own)).transpose()?;
        match asked {
            Some(url) if url != own.url => Ok(Target { url, key: None, priced: false }),
            Some(_) | None => {
                let variable = kind.key_variable().filter(|_| needs_key(kind, own));
                if let (Some(variable), None) = (variable, &own.key) {
                    let message = format!("there is no key for {kind}: set {variable} for the workers");
                    return Err(CallError::new(FailureClass::AuthFailed, message));
                }
                Ok(Target { url: own.url.clone(), key: own.key.clone(), priced: own.public })
            }
        }
    }

    /// The address of an assertion's webhook, which the operator has to allow as a model's.
    pub(crate) fn webhook(&self, text: &str) -> Result<Url, CallError> {
        let bad = |message: String| CallError::new(FailureClass::BadRequest, message);
        let url = Url::parse(text.trim()).map_err(|_| bad(format!("the webhook {text:?} is no URL")))?;
        let mut place = url.clone();
        place.set_query(None);
        place.set_fragment(None);
        let place = address(place.as_str()).map_err(|why| bad(format!("the webhook {text:?} can't be used: {why}")))?;
        if self.allowed.iter().any(|allowed| allowed.admits(&place)) {
            return Ok(url);
        }
        let host = url.host_str().unwrap_or_default();
        Err(bad(format!(
            "a webhook at {host} is not allowed here: the operator of the workers has to add it to the allowed base URLs"
        )))
    }

    fn permitted(&self, text: &str, own: &Own) -> Result<Url, CallError> {
        let url = address(text).map_err(|why| {
            CallError::new(FailureClass::BadRequest, format!("the base_url of the model can't be used: {why}"))
        })?;
        if url == own.url || self.allowed.iter().any(|allowed| allowed.admits(&url)) {
            return Ok(url);
        }
        let message = format!(
            "the base_url {url} is not allowed here: the operator of the workers has to add it to the allowed base URLs"
        );
        Err(CallError::new(FailureClass::BadRequest, message))
    }
}

/// A server that the operator set up in a provider's place may do without a key where its format can.
fn needs_key(kind: ProviderKind, own: &Own) -> bool {
    own.public || kind != ProviderKind::OpenAi
}

impl Allowed {
    fn parse(text: &str) -> Result<Self, GatewayError> {
        let url = setting(text)?;
        let any_port = is_loopback(&url) && !names_port(text);
        Ok(Self { url, any_port })
    }

    fn admits(&self, url: &Url) -> bool {
        self.url.scheme() == url.scheme()
            && self.url.host() == url.host()
            && (self.any_port || self.url.port_or_known_default() == url.port_or_known_default())
            // Both paths end in a slash, so that /v1 does not admit /v10.
            && url.path().starts_with(self.url.path())
    }
}

/// `Url` forgets a port that is its scheme's own, and `http://127.0.0.1:80` is meant as written.
fn names_port(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or("");
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an address can only be on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn setting(text: &str) -> Result<Url, GatewayError> {
    address(text).map_err(|why| GatewayError::Address { url: text.to_owned(), why })
}

/// Reads an address and lets it end in a slash: what is joined to it would replace its last part otherwise.
fn address(text: &str) -> Result<Url, &'static str> {
    let mut url = Url::parse(text.trim()).map_err(|_| "it is no URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it has to begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it may not hold a user name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it may not hold a query or a fragment");
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, base_url: Option<&str>) -> ModelSpec {
        let mut model: ModelSpec = serde_json::from_value(serde_json::json!({ "id": id })).unwrap();
        model.base_url = base_url.map(str::to_owned);
        model
    }

    fn endpoints(allowed: &[&str]) -> Endpoints {
        let keys = [(ProviderKind::OpenAi, Secret::parse("sk-operator").unwrap())].into();
        let allowed_base_urls = allowed.iter().map(|url| (*url).to_owned()).collect();
        Endpoints::new(&GatewayConfig { keys, allowed_base_urls, ..GatewayConfig::default() }).unwrap()
    }

    fn target(endpoints: &Endpoints, base_url: Option<&str>) -> Result<Target, CallError> {
        endpoints.target(ProviderKind::OpenAi, &model("openai:m", base_url))
    }

    #[test]
    fn an_address_is_compared_by_its_parts() {
        let endpoints = endpoints(&["http://127.0.0.1", "https://gateway.corp/llm", "http://localhost:8000"]);
        for good in [
            "http://127.0.0.1/v1",
            "http://127.0.0.1:18181/v1/",
            "https://gateway.corp/llm/openai/",
            "https://GATEWAY.corp:443/llm",
            "http://localhost:8000/v1",
        ] {
            assert_eq!(target(&endpoints, Some(good)).unwrap().key, None, "{good}");
        }
        for bad in [
            "http://127.0.0.1.evil.com/v1",
            "http://127.0.0.1@evil.com/v1",
            "http://evil.com/http://127.0.0.1",
            "https://127.0.0.1/v1",
            "http://gateway.corp/llm",
            "https://gateway.corp:8443/llm",
            "https://gateway.corp/llm2",
            "https://gateway.corp/llm/../admin/",
            "https://gateway.corp/",
            "http://localhost:8001/v1",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "not a url",
        ] {
            let error = target(&endpoints, Some(bad)).unwrap_err();
            assert_eq!(error.class, FailureClass::BadRequest, "{bad}");
        }
    }

    #[test]
    fn the_key_goes_to_the_operators_address_and_nowhere_else() {
        let endpoints = endpoints(&["http://127.0.0.1", "https://api.openai.com.evil.org"]);
        assert!(target(&endpoints, None).unwrap().key.is_some());
        assert!(target(&endpoints, Some("https://api.openai.com/v1")).unwrap().key.is_some());
        for foreign in ["http://127.0.0.1:1/v1", "https://api.openai.com.evil.org/v1"] {
            let found = target(&endpoints, Some(foreign)).unwrap();
            assert!(found.key.is_none() && !found.priced, "{foreign}");
        }
    }

    #[test]
    fn a_webhook_is_where_the_operator_allows_one() {
        let endpoints = endpoints(&["http://127.0.0.1", "https://hooks.corp/pcs"]);
        for good in ["http://127.0.0.1:9/hook?x=1", "https://hooks.corp/pcs", "https://hooks.corp/pcs/a?b=c"] {
            assert_eq!(endpoints.webhook(good).unwrap().as_str(), good);
        }
        for bad in [
            "https://hooks.corp/pcs2",
            "https://api.openai.com/v1/x",
            "http://169.254.169.254/latest",
            "http://127.0.0.1@evil.com/",
            "http://user:secret@127.0.0.1/",
            "ftp://127.0.0.1/",
            "hooks.corp/pcs",
        ] {
            assert_eq!(endpoints.webhook(bad).unwrap_err().class, FailureClass::BadRequest, "{bad}");
        }
    }

    #[test]
    fn a_missing_key_says_what_to_set() {
        let endpoints = Endpoints::new(&GatewayConfig::default()).unwrap();
        let error = endpoints.target(ProviderKind::Anthropic, &model("anthropic:claude", None)).unwrap_err();
        assert_eq!(error.class, FailureClass::AuthFailed);
        assert!(error.message.contains("set ANTHROPIC_API_KEY for the workers"), "{error}");
        assert!(endpoints.target(ProviderKind::Ollama, &model("ollama:llama3:8b", None)).is_ok());
        let unnamed = endpoints.target(ProviderKind::OpenAi, &model("openai", None)).unwrap_err();
        assert_eq!(unnamed.class, FailureClass::UnknownModel);
    }

    #[test]
    fn a_wrong_address_in_the_settings_is_refused_at_the_start() {
        let base_urls = [(ProviderKind::OpenAi, "https://user:secret@proxy/".to_owned())].into();
        assert!(Endpoints::new(&GatewayConfig { base_urls, ..GatewayConfig::default() }).is_err());
    }
}
