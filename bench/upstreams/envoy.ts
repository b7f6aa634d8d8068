import { all, bootstrap, claims, extAuthz, postern, router, sandboxes, type } from '../direct/envoys.ts'

/** The host by which a request chooses its way. */
export const hosts = { mtls: 'mtls.bench', jwt: 'jwt.bench' } as const
export type Way = keyof typeof hosts
export const ways = Object.keys(hosts) as Way[]

export const account = (name: string): string => `spiffe://cluster.local/ns/agentcube-system/sa/${name}`

/** Certificates of the edge, in a folder: router.crt, router.key, ca.crt. */
const tls = (folder: string) => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    ...type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
    common_tls_context: {
      alpn_protocols: ['http/1.1'],
      tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
      tls_certificates: [{ certificate_chain: { filename: `${folder}/router.crt` }, private_key: { filename: `${folder}/router.key` } }],
      validation_context: {
        trusted_ca: { filename: `${folder}/ca.crt` },
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: account('picod') } }],
      },
    },
  },
})

/** Asks Postern, then goes to the address that it names: with mTLS as envoy/upstreams.yaml has it, or without. */
export const edgeConfig = (at: { port: number; admin: string; socket: string; certificates: string }): object =>
  bootstrap(
    at.port,
    at.admin,
    [claims, extAuthz, router],
    [all('mtls', hosts.mtls, 'picod_mtls'), all('jwt', hosts.jwt, 'picod_jwt')],
    [postern(at.socket), { ...sandboxes, name: 'picod_mtls', transport_socket: tls(at.certificates) }, { ...sandboxes, name: 'picod_jwt' }],
  )
