//! One event at a time, each written down before it is handled: finds the event that ends the process.

use pcs_store::Store;

use crate::generation::Generation;
use crate::isolate::Condemned;
use crate::lease::Lease;
use crate::step::{self, Expected, Outcome, Stepped, Target, Write};
use crate::{Projection, ProjectionError, checkpoint};

/// How often a process may end while it handles an event before the event is taken for the reason.
pub(crate) const ENDS_MAX: i32 = 3;

/// Goes over the next `len` positions, one event a transaction, and settles the lease when all went well.
pub(crate) async fn step(
    store: &Store,
    projection: &dyn Projection,
    lease: &mut Lease,
    len: i64,
) -> Result<Stepped, ProjectionError> {
    let target = Target { projection, generation: Generation::Live, write: Write::Apply };
    let read = checkpoint::read(store.pool(), projection.name(), target.generation).await?;
    let Some(start) = read else { return Ok(Stepped::refused(Outcome::Rewound, 0)) };
    if !start.status.goes_on() {
        return Ok(Stepped::refused(Outcome::Standing(start.status), start.position));
    }
    let mut last = Stepped::refused(Outcome::AtRest, start.position);
    let end = start.position.saturating_add(len);
    while last.position < end {
        let page = store.read_page(last.position, 1, &projection.subscribed()).await?;
        if page.up_to <= last.position {
            break;
        }
        let handled = page.events.len() + page.unreadable.len();
        let ends = if handled == 0 { 0 } else { lease.suspect(store.pool(), page.up_to).await? - 1 };
        let condemned = (ends >= ENDS_MAX).then(|| Condemned {
            position: page.up_to,
            error: format!("the process ended {ends} times while it handled this event"),
        });
        let expected = Expected { position: last.position, epoch: lease.epoch };
        last = step::write_page(store, target, expected, &page, condemned.as_ref()).await?;
        if last.outcome != Outcome::Moved || last.position < page.up_to {
            return Ok(last);
        }
    }
    lease.settle(store.pool()).await?;
    Ok(last)
}
