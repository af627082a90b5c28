//! Where the rows are, as the configuration says it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{Error, Migrated, Postgres, Sqlite, Store, postgres, start};

/// The database: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`. Shown without a password.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreUrl(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Sqlite(PathBuf),
    Postgres(Url),
}

/// A URL that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`store_url` must be of the form sqlite:PATH or postgres://USER@HOST/DATABASE{0}")]
pub struct WrongUrl(String);

// === impl StoreUrl ===

impl StoreUrl {
    /// A SQLite database in a file.
    #[must_use]
    pub fn sqlite(path: PathBuf) -> Self {
        Self(Kind::Sqlite(path))
    }

    /// The file, if it is one, which one process may use at a time.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres(_) => None,
        }
    }

    /// Opens it and brings its schema up to date.
    ///
    /// # Errors
    /// If it is not there, or of a later version.
    pub async fn open(&self, options: postgres::Options) -> Result<Arc<dyn Store>, Error> {
        Ok(match &self.0 {
            Kind::Sqlite(path) => Arc::new(Sqlite::open_within(path, options.start()).await?),
            Kind::Postgres(url) => {
                let url = connect(url)?;
                let open = async || Postgres::open(&url, options).await;
                Arc::new(start::patiently(options.start(), open).await?)
            }
        })
    }

    /// Brings its schema up to date.
    ///
    /// # Errors
    /// If it is not there, or of a later version.
    pub async fn migrate(&self, options: postgres::Options) -> Result<Migrated, Error> {
        match &self.0 {
            Kind::Sqlite(path) => Sqlite::migrate(path).await,
            Kind::Postgres(url) => Postgres::migrate(&connect(url)?, options).await,
        }
    }
}

fn connect(url: &Url) -> Result<PgConnectOptions, sqlx::Error> {
    url.as_str().parse()
}

impl FromStr for StoreUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(WrongUrl(String::new())),
                path => Ok(Self(Kind::Sqlite(path.into()))),
            };
        }
        // What is wrong is not repeated: it may hold a password.
        let url: Url = text.parse().map_err(|error| WrongUrl(format!(" ({error})")))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(WrongUrl(format!(" ({}: is not known)", url.scheme())));
        }
        connect(&url).map_err(|_whole| WrongUrl(" (a parameter is wrong)".to_owned()))?;
        Ok(Self(Kind::Postgres(url)))
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = WrongUrl;

    fn try_from(text: String) -> Result<Self, WrongUrl> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(url) => f.write_str(without_password(url.clone()).as_str()),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// A password stands before the host or among the parameters.
fn without_password(mut url: Url) -> Url {
    if url.password().is_some() {
        // Fails only for a URL without a host, which has no password.
        let _kept = url.set_password(Some("***"));
    }
    if url.query_pairs().any(|(key, _)| key == "password") {
        let shown = |(key, value): (_, _)| if key == "password" { (key, "***".into()) } else { (key, value) };
        let pairs: Vec<_> =
            url.query_pairs().map(shown).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database() {
        for (text, shown) in [
            ("sqlite:/a/b.db", "sqlite:/a/b.db"),
            ("sqlite:///a/b.db", "sqlite:/a/b.db"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:s3cret@h:5433/d?sslmode=require", "postgres://u:***@h:5433/d?sslmode=require"),
            ("postgresql://h/d?password=s3cret&user=u", "postgresql://h/d?password=***&user=u"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.into(), format!("StoreUrl({shown})")));
            assert_eq!(String::from(url), shown, "as --dump-config shows it");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_password() {
        for text in ["", "sqlite:", "caravan.db", "mysql://u:s3cret@h/d", "postgres://u:s3cret@h:port/d"] {
            let wrong = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(wrong.contains("must be of the form") && !wrong.contains("s3cret"), "{wrong}");
        }
    }
}
