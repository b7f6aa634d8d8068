/** Paths of PEM files: one certificate for servers and clients. */
export interface RedisTls {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

/** Settings by which a Redis, or a Sentinel, listens with TLS on a further port, and asks for a certificate. */
export const tlsSettings = ({ cert, key, ca }: RedisTls, port: number): [name: string, value: string][] => [
  ['tls-port', String(port)],
  ['tls-cert-file', cert],
  ['tls-key-file', key],
  ['tls-ca-cert-file', ca],
]

/** The same as flags of the command line. */
export const tlsFlags = (tls: RedisTls, port: number): string[] => tlsSettings(tls, port).flatMap(([name, value]) => [`--${name}`, value])
