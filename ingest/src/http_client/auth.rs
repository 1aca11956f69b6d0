//! The `Authorization` header of a configuration that holds credentials itself.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderValue;

use super::{ClientError, secret_file};
use crate::config::{HttpClientConfig, Secret};
use crate::fs::FileSystem;

/// A secret that stands in the configuration or in a file.
#[derive(Clone, Debug)]
pub(super) enum SecretSource {
    Inline(Secret),
    File(String),
}

impl SecretSource {
    pub(super) fn new(inline: Secret, file: String) -> Self {
        if file.is_empty() { Self::Inline(inline) } else { Self::File(file) }
    }

    pub(super) fn fetch(&self, fs: &dyn FileSystem) -> Result<Secret, ClientError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => secret_file(fs, path),
        }
    }
}

#[derive(Debug)]
pub(super) enum Credentials {
    None,
    Basic { username: SecretSource, password: SecretSource },
    Typed { auth_type: String, credentials: SecretSource },
}

impl Credentials {
    pub(super) fn of(config: &HttpClientConfig) -> Self {
        if let Some(basic) = config.basic_auth.clone() {
            let username = SecretSource::new(Secret::new(basic.username), basic.username_file);
            return Self::Basic { username, password: SecretSource::new(basic.password, basic.password_file) };
        }
        match config.authorization.clone() {
            Some(auth) => Self::Typed {
                auth_type: auth.auth_type,
                credentials: SecretSource::new(auth.credentials, auth.credentials_file),
            },
            None => Self::None,
        }
    }

    pub(super) fn header(&self, fs: &dyn FileSystem) -> Result<Option<HeaderValue>, ClientError> {
        match self {
            Self::None => Ok(None),
            Self::Basic { username, password } => basic(&username.fetch(fs)?, &password.fetch(fs)?).map(Some),
            Self::Typed { auth_type, credentials } => typed(auth_type, &credentials.fetch(fs)?).map(Some),
        }
    }
}

/// `<type> <credentials>`, kept out of debug prints.
pub(super) fn typed(auth_type: &str, credentials: &Secret) -> Result<HeaderValue, ClientError> {
    let text = format!("{auth_type} {}", credentials.expose());
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn basic(username: &Secret, password: &Secret) -> Result<HeaderValue, ClientError> {
    let pair = format!("{}:{}", username.expose(), password.expose());
    typed("Basic", &Secret::new(BASE64_STANDARD.encode(pair)))
}
