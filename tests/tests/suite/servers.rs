//! What every server says of itself: its services by reflection, and its health.

use caravan_tests::{Api, Fleet, reason};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn services(api: &Api) -> anyhow::Result<Vec<String>> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(api.channel());
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
    match answers.message().await?.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            Ok(names)
        }
        other => anyhow::bail!("no list of services: {other:?}"),
    }
}

#[tokio::test]
async fn every_server_reflects_its_services_and_is_healthy() -> anyhow::Result<()> {
    let fleet = Fleet::start("").await?;
    let named = |names: &[&str]| names.iter().map(|name| format!("caravan.v1.{name}")).collect::<Vec<_>>();
    let public = named(&["AccessService", "BatchService", "FileService", "FleetService"]);
    let mut own = [public.clone(), named(&["CredentialService", "WorkService"])].concat();
    own.sort();
    for (url, wanted) in [(&fleet.grpc, &public), (&fleet.planner_url(), &own)] {
        let api = Api::new(url)?;
        let listed = services(&api).await?;
        let ours: Vec<_> = listed.iter().filter(|name| name.starts_with("caravan.")).cloned().collect();
        assert_eq!(&ours, wanted);
        assert!(listed.iter().any(|name| name == "grpc.health.v1.Health"), "{listed:?}");
        for service in std::iter::once(String::new()).chain(ours) {
            let health = HealthClient::new(api.channel())
                .check(HealthCheckRequest { service: service.clone() })
                .await?;
            assert_eq!(health.into_inner().status(), ServingStatus::Serving, "{service}");
        }
    }
    let ready = reqwest::get(format!("{}/readyz", fleet.http)).await?;
    assert_eq!(ready.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_gateway_without_its_planner_says_so() -> anyhow::Result<()> {
    let mut fleet = Fleet::start("").await?;
    let api = fleet.api()?;
    let nobody = "batches/batch_00000000000000000000000000000000";
    let missing = api.get(nobody).await.unwrap_err();
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "BATCH_NOT_FOUND"));
    fleet.kill_planner().await?;
    let away = api.get(nobody).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away}");
    assert_eq!(reqwest::get(format!("{}/readyz", fleet.http)).await?.status(), 503);
    assert_eq!(reqwest::get(format!("{}/healthz", fleet.http)).await?.status(), 200);
    fleet.start_planner().await?;
    let look = async || match api.get(nobody).await {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        other => Err(format!("{other:?}")),
    };
    caravan_tests::until("the gateway finds its planner again", look).await
}
