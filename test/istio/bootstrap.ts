/** What the gateway of this test knows of itself; listeners, routes, clusters and endpoints come from istiod. */
export function gatewayBootstrap({ istiod, agent, namespace }: { istiod: number; agent: number; namespace: string }): object {
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  }
  const cluster = (name: string, address: object) => ({
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: http2,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  })
  const labels = { 'app.kubernetes.io/name': 'router' }
  return {
    node: {
      id: `router~192.0.2.10~router-0.${namespace}~${namespace}.svc.cluster.local`,
      cluster: 'router',
      metadata: {
        NAMESPACE: namespace,
        NAME: 'router-0',
        SERVICE_ACCOUNT: 'router',
        CLUSTER_ID: 'Kubernetes',
        MESH_ID: 'cluster.local',
        ISTIO_VERSION: '1.31.0',
        LABELS: labels,
        INSTANCE_IPS: '192.0.2.10',
        GENERATOR: '',
      },
    },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      ads_config: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
      },
      lds_config: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
      cds_config: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
    },
    static_resources: {
      clusters: [
        cluster('xds-grpc', { socket_address: { address: '127.0.0.1', port_value: istiod } }),
        // Istio's name for the agent beside a proxy.
        cluster('sds-grpc', { socket_address: { address: '127.0.0.1', port_value: agent } }),
      ],
    },
  }
}
