//! Ctrl-C and SIGTERM, remembered from the moment of listening so that none is lost between two waits.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The wishes of the user to stop.
pub(crate) enum Interrupts {
    /// Of the process.
    Signals { interrupt: Signal, terminate: Signal },
    /// Of a test.
    #[cfg(test)]
    Told(tokio::sync::mpsc::UnboundedReceiver<()>),
}

impl Interrupts {
    /// From now on the signals no longer end the process.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self::Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let came = match self {
            Self::Signals { interrupt, terminate } => {
                tokio::select! {
                    came = interrupt.recv() => came,
                    came = terminate.recv() => came,
                }
            }
            #[cfg(test)]
            Self::Told(told) => told.recv().await,
        };
        if came.is_none() {
            // No signal can come any more.
            std::future::pending::<()>().await;
        }
    }
}
