//! A database that is reached by TLS alone: who it is, is checked to the end.

use super::*;

impl Fleet {
    /// One gateway on a database with a certificate for `localhost`.
    async fn encrypted(host: &str, authority: &str) -> Option<Self> {
        let database = Server::start_encrypted()?;
        let world = World::without_gateway(|_| {}).await;
        let mut fleet = Self {
            world,
            database,
            gateways: Vec::new(),
        };
        fleet.adds_gateway(0, "10s");
        let gateway = &fleet.gateways[0];
        let file = gateway.folder.join("policies/gateway.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let url = fleet.database.url();
        let (secure, certificates) = (
            format!("{}?sslmode=verify-full", url.replace("127.0.0.1", host)),
            fleet.database.certificate(authority),
        );
        let text = text.replace(
            &format!("state: {url}\n"),
            &format!(
                "state: {secure}\ndatabase: {{ certificates: {} }}\n",
                certificates.display()
            ),
        );
        assert!(text.contains("verify-full"), "{text}");
        fs::write(file, text).unwrap();
        fleet.starts(0).await;
        Some(fleet)
    }

    async fn cause(&self) -> String {
        let ready = self.admin(0, "/readyz").await.unwrap().json();
        ready["queueCause"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_queue_is_kept_in_a_database_that_proves_who_it_is() {
    let Some(fleet) = Fleet::encrypted("localhost", "authority").await else {
        return;
    };
    assert_eq!(fleet.health(0).await, "ok", "{}\n{}", fleet.cause().await, fleet.logs());
    fleet.world.fault("erp", "down").await;
    let answer = fleet.orders(0, "k-1", "T-1").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    let sessions = "SELECT count(*) FILTER (WHERE ssl) || ' of ' || count(*) FROM pg_stat_ssl JOIN pg_stat_activity \
                    USING (pid) WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let encrypted = fleet.database.sql(sessions);
    let (some, all) = encrypted.split_once(" of ").unwrap();
    assert!(some == all && some != "0", "{encrypted}");
    fleet.world.fault("erp", "up").await;
    fleet
        .until("it is delivered", async || {
            fleet.reads(0, &location).await.json()["state"] == "delivered"
        })
        .await;
    assert_eq!(fleet.ledger().await, ["k-1"]);
}

#[tokio::test]
async fn a_database_that_another_authority_vouches_for_or_of_another_name_is_not_used() {
    for (host, authority) in [("localhost", "another"), ("127.0.0.1", "authority")] {
        let Some(fleet) = Fleet::encrypted(host, authority).await else {
            return;
        };
        assert_eq!(fleet.health(0).await, "unavailable", "{host} {authority}");
        let cause = fleet.cause().await;
        assert!(cause.contains("certificate"), "{host} {authority}: {cause}");
        let answer = fleet.orders(0, "k-1", "T-1").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'crossdock'";
        assert_eq!(fleet.database.sql(tables), "0", "nothing was made");
    }
}
