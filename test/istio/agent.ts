import { fileURLToPath } from 'node:url'
import {
  type GrpcObject,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const secret = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'

interface DiscoveryRequest {
  readonly resource_names: readonly string[]
  readonly response_nonce: string
}

/** The files of the proxy's own identity. */
export interface Identity {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

/**
 * Stands for the agent that Istio runs beside a proxy: it hands out the proxy's certificate (`default`) and the mesh's authority
 * (`ROOTCA`), and whatever files a Gateway or DestinationRule names (`file-cert:CERT~KEY`, `file-root:CA`).
 */
export async function startAgent(identity: Identity): Promise<{ readonly port: number; readonly stop: () => void }> {
  const definition = loadSync(fileURLToPath(new URL('sds.proto', import.meta.url)), { keepCase: true, defaults: true })
  const { SecretDiscoveryService } = at(loadPackageDefinition(definition), 'envoy', 'service', 'secret', 'v3')
  const server = new Server()
  server.addService((SecretDiscoveryService as ServiceClientConstructor).service, {
    StreamSecrets: (stream: ServerDuplexStream<DiscoveryRequest, unknown>) => {
      let nonce = 0
      stream.on('data', ({ resource_names, response_nonce }: DiscoveryRequest) => {
        // With a nonce it acknowledges what it has.
        if (response_nonce !== '') return
        const resources = resource_names.map((name) => ({ type_url: secret, value: named(name, identity) }))
        stream.write({ version_info: '1', resources, type_url: secret, nonce: String(++nonce) })
      })
      stream.on('end', () => stream.end())
      stream.on('error', () => {})
    },
  })
  const port = await new Promise<number>((done, fail) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? fail(error) : done(bound))),
  )
  return { port, stop: () => server.forceShutdown() }
}

function named(name: string, { cert, key, ca }: Identity): object {
  const pair = (chain: string, own: string) => ({
    name,
    tls_certificate: { certificate_chain: { filename: chain }, private_key: { filename: own } },
  })
  const authority = (file: string) => ({ name, validation_context: { trusted_ca: { filename: file } } })
  if (name === 'default') return pair(cert, key)
  if (name === 'ROOTCA') return authority(ca)
  const [, kind, chain = '', own = ''] = /^file-(cert|root):([^~]*)~?(.*)$/.exec(name) ?? []
  if (kind === undefined) throw new Error(`the gateway asks for the secret ${name}`)
  return kind === 'cert' ? pair(chain, own) : authority(chain)
}

const at = (object: GrpcObject, ...names: readonly string[]): GrpcObject => names.reduce((inner, name) => inner[name] as GrpcObject, object)
