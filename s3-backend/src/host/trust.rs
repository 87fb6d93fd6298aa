//! Whose certificates are trusted when credentials are fetched over https. Read when first needed: most programs
//! ask this machine only, over http.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use credentials::{Environment, SystemEnvironment};
use object_storage::config::TlsRoots;
use rustls::ClientConfig;

use crate::transport::{Roots, client_config};

pub(crate) struct Trust {
    roots: Roots,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    pub(crate) fn new(roots: Roots) -> Trust {
        Trust { roots, config: OnceCell::new() }
    }

    /// `AWS_CA_BUNDLE` replaces what the system trusts, as the AWS SDKs have it.
    pub(super) fn of_system() -> Trust {
        let bundle = SystemEnvironment.var("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        Trust::new(match bundle {
            Some(bundle) => Roots { base: TlsRoots::CaFile, ca_file: Some(PathBuf::from(bundle)) },
            None => Roots { base: TlsRoots::System, ca_file: None },
        })
    }

    /// # Errors
    ///
    /// One line that says which certificates cannot be read.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let roots = self.roots.clone();
        let read = compio::runtime::spawn_blocking(move || client_config(Some(&roots))).await;
        let config = read
            .map_err(|_| "reading the certificates panicked".to_owned())?
            .map_err(|error| error.to_string())?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}
