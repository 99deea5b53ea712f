//! Who is asking, and what they may do: accounts, API keys and permissions. The only crate that sees a user's secret.
//!
//! [`permission`] says which role may do what, [`key_text`] what a key looks like, [`account`] and [`api_key`] keep
//! both in the schema `auth`, and [`Authenticator`] turns the text of a request's header into a [`Principal`].

mod permission;
mod key_text;
mod account;
mod api_key;
mod authenticator;
mod error;

pub use self::account::{ADMINISTRATOR_EMAIL, NewCredentials, bootstrap};
pub use self::api_key::{NewApiKey, create_api_key, revoke};
pub use self::authenticator::Authenticator;
pub use self::error::AuthError;
pub use self::key_text::{KEY_MARK, public_part};
pub use self::permission::{Action, Forbidden, Principal, Role, authorize};
