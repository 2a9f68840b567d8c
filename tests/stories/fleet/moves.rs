//! A queue moves by the command: from a gateway's folder into a database, and back.

use std::path::Path;

use super::*;

impl Fleet {
    /// The command, for one of the gateways.
    async fn command(&self, admin: &str, words: &[&str]) -> String {
        let mut command = crossdock();
        command.args(words).args(["--admin", admin]).env("USER", "jo");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.logs()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Moves all that waits from one gateway to another, by a file.
    async fn moves(&self, from: &str, to: &str, file: &Path, count: usize) {
        let file = file.display().to_string();
        self.command(from, &["queue", "pause", "all", "--reason", "it moves"])
            .await;
        let said = self.command(from, &["queue", "export", &file]).await;
        assert!(said.contains(&format!("{count} messages written")), "{said}");
        let said = self
            .command(to, &["queue", "import", &file, "--reason", "it moves"])
            .await;
        assert!(
            said.contains(&format!("{count} messages taken over, 0 were known")),
            "{said}"
        );
        // Once more is no harm.
        let said = self.command(to, &["queue", "import", &file]).await;
        assert!(
            said.contains(&format!("0 messages taken over, {count} were known")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_queue_moves_from_a_folder_to_a_database_and_back() {
    let Some(mut fleet) = Fleet::start(1).await else { return };
    fleet.world.starts_gateway().await;
    let folder_admin = fleet.world.admin_url();
    let database_admin = fleet.gateways[0].admin.clone();
    fleet.world.fault("erp", "down").await;

    // Accepted by the gateway with the folder, delivered by the one with the database.
    let token = fleet.world.token("storefront");
    for order in ["M1", "M2", "M3"] {
        let answer = fleet
            .world
            .orders(&token, "v1", &format!("k-{order}"), order_v1(order))
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let file = fleet.world.folder().join("first");
    fleet.moves(&folder_admin, &database_admin, &file, 3).await;
    fleet.world.fault("erp", "up").await;
    fleet
        .until("the database's gateway delivers", async || {
            fleet.ledger().await.len() == 3
        })
        .await;

    // And the other way round.
    fleet.world.fault("erp", "down").await;
    for order in ["M4", "M5"] {
        assert_eq!(fleet.orders(0, &format!("k-{order}"), order).await.status, 202);
    }
    let file = fleet.world.folder().join("second");
    // What was delivered moves along, as it answers repeats. All of it is known where it came from.
    fleet
        .command(&database_admin, &["queue", "pause", "all", "--reason", "it moves"])
        .await;
    let path = file.display().to_string();
    let said = fleet.command(&database_admin, &["queue", "export", &path]).await;
    assert!(said.contains("5 messages written"), "{said}");
    let said = fleet.command(&folder_admin, &["queue", "import", &path]).await;
    assert!(said.contains("2 messages taken over, 3 were known"), "{said}");
    // Of the first three its own copies still wait, paused; they are done elsewhere.
    let discard = ["queue", "discard", "--state", "waiting,inDoubt", "--key"];
    for order in ["M1", "M2", "M3"] {
        fleet
            .command(
                &folder_admin,
                &[&discard[..], &[order, "--yes", "--reason", "it moved"]].concat(),
            )
            .await;
    }
    fleet.world.fault("erp", "up").await;
    fleet
        .command(&folder_admin, &["queue", "resume", "all", "--reason", "it moved"])
        .await;
    fleet
        .until("the folder's gateway delivers", async || {
            fleet.ledger().await.len() == 5
        })
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut ledger = fleet.ledger().await;
    ledger.sort();
    assert_eq!(ledger, ["k-M1", "k-M2", "k-M3", "k-M4", "k-M5"], "{}", fleet.logs());
}
