use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use caravan_gateway::Options;
use caravan_proto::{
    name::BatchId,
    v1::{Batch, GetBatchRequest, batch_service_client::BatchServiceClient},
};
use caravan_service::Shutdown;
use tokio::{task::JoinSet, time::timeout};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::planner::Planner;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway in front of a planner that has one batch.
pub(crate) struct Edge {
    pub(crate) planner: Planner,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _tasks: JoinSet<()>,
}

/// One of this machine's addresses; each is a client of its own.
pub(crate) fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

// === impl Edge ===

impl Edge {
    pub(crate) async fn start(options: Options) -> Self {
        let planner = Planner::new(Batch { name: BatchId::now().name(), ..Batch::default() });
        let mut tasks = JoinSet::new();
        let (url, _) = planner.serve(&mut tasks).await;
        let any = "127.0.0.1:0".to_owned();
        let planners = vec![url.parse().expect("a URL")];
        let options = Options { listen: any.clone(), http_listen: any, planner: planners, ..options };
        let service = options.build().await.expect("a gateway");
        let at = |url: &Option<String>| {
            let url = url.as_ref().and_then(|url| url.strip_prefix("http://"));
            url.expect("it serves").parse().expect("an address")
        };
        let (grpc, http) = (at(&service.addresses().grpc), at(&service.addresses().http));
        tasks.spawn(async move { service.run(Shutdown::new(PATIENCE)).await.expect("the gateway serves") });
        Self { planner, grpc, http, _tasks: tasks }
    }

    /// A client's connection.
    pub(crate) fn channel(&self, from: IpAddr) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        endpoint.local_address(Some(from)).connect_lazy()
    }

    /// A call of somebody who means well.
    pub(crate) async fn call(&self, from: IpAddr) -> Result<Batch, Status> {
        let request = GetBatchRequest { name: self.planner.batch.name.clone() };
        let call = async { BatchServiceClient::new(self.channel(from)).get_batch(request).await };
        timeout(PATIENCE, call).await.expect("in time").map(tonic::Response::into_inner)
    }

    /// Waits until such a call is answered.
    pub(crate) async fn serves(&self, from: IpAddr) {
        let served = async {
            while self.call(from).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, served).await.expect("it is served again");
    }
}
