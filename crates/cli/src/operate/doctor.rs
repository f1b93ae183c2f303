//! `doctor`: checks a deployment or a local set-up, and says how to mend each fault.

mod receiver;
mod report;
mod secret;
mod table;

use clap::Args;
use sonotheia_webhook::store::Store;

use crate::address::Address;
use crate::args::{print, usage};
use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use crate::table::Account;
use receiver::Receiver;
use report::{Found, Report, wrong};

const HERE: &str = "http://127.0.0.1:8080/webhook";

/// What `doctor` cannot see of a deployment.
const SENDER_CIDRS: &str = "doctor cannot see the stack's parameter SenderCidrs. If it is empty, the firewall counts \
    Sonotheia's requests like any other's: above the stack's RateLimit it turns deliveries away, and Sonotheia has to send \
    them again. With Sonotheia's address ranges in SenderCidrs, no limit of the firewall applies to them.";

/// Check a deployment or a local set-up, and say how to mend each fault
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 if all checks are ok; 1 if a check failed or could not be made. A check that was \
    skipped for lack of an option counts as not made, unless --allow-skipped is given."
)]
pub struct Doctor {
    /// The webhook's address, the stack's output WebhookUrl; without --url and --table, the receiver on
    /// this machine
    #[arg(long, value_parser = Address::parse)]
    url: Option<Address>,
    /// The table, the stack's output EventsTableName
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    secret: crate::secret::Source,
    /// Send no signed probe. The receiver stores the probe as an event of type system.health_check
    #[arg(long)]
    no_probe: bool,
    /// End with status 0 also if checks were not made
    #[arg(long)]
    allow_skipped: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Prints the whole report, and fails if something is wrong or was not checked.
    pub fn run(self) -> Result<(), Failure> {
        if self.account.is_embedded() && self.table.is_none() {
            usage("--dynamodb needs --table; `serve` prints both");
        }
        interrupt::run(self.check())
    }

    async fn check(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let mut report = Report::default();
        let is_interrupted = tokio::select! {
            made = self.make_checks(&mut report) => {
                made?;
                false
            }
            () = stop => true,
        };
        print(&if self.json {
            report.document()
        } else {
            report.lines()
        })?;
        if is_interrupted {
            let done = format!("{} checks were made; run the command again", report.len());
            return Err(RemoteError::Interrupted { done }.into());
        }
        self.result(&report)
    }

    async fn make_checks(&self, report: &mut Report) -> Result<(), Failure> {
        let secret = secret::check(&self.secret, self.account.region.as_deref(), report).await;
        let store = self.table(report).await;
        let url = match (&self.url, &self.table) {
            (Some(url), _) => Some(url.webhook()),
            (None, Some(_)) => None,
            (None, None) => HERE.parse().ok(),
        };
        match url {
            Some(url) => {
                if url.scheme_str() == Some("https") {
                    report.note(SENDER_CIDRS);
                }
                match Receiver::new(url) {
                    Ok(receiver) => receiver.check(report, secret, !self.no_probe, store).await?,
                    Err(failure) => report.add(
                        "receiver",
                        wrong(
                            report::with_causes(&failure),
                            "correct the variable, and run the command again",
                        ),
                    ),
                }
            }
            None => report.add("receiver", Found::skipped("no address was given", "--url URL")),
        }
        Ok(())
    }

    async fn table(&self, report: &mut Report) -> Option<Store> {
        let Some(table) = &self.table else {
            report.add("table", Found::skipped("no table was named", "--table NAME"));
            return None;
        };
        match self.account.sdk().await {
            Ok(sdk) => {
                let client = Account::client(&sdk);
                let is_usable = table::check(&client, table, report).await;
                is_usable.then(|| Store::new(client, table))
            }
            Err(failure) => {
                report.add(
                    "table",
                    wrong(report::with_causes(&failure), "set it, and run the command again"),
                );
                None
            }
        }
    }

    fn result(&self, report: &Report) -> Result<(), Failure> {
        let wrong = report.count(|found| matches!(found, Found::Wrong { .. }));
        let skipped = report.count(|found| matches!(found, Found::Skipped { .. } | Found::Unknown(_)));
        let checks = report.len();
        if wrong > 0 {
            return Err(RemoteError::Unwell {
                wrong,
                skipped,
                checks,
            }
            .into());
        }
        if skipped > 0 && !self.allow_skipped {
            let options = report.missing_options();
            return Err(RemoteError::Skipped {
                skipped,
                checks,
                options,
            }
            .into());
        }
        Ok(())
    }
}
