/** What an HTTP application may know of the connection that a request came by. */
export interface Connection {
  /** The SPIFFE ID in the client's verified certificate, with `tls.mode: mtls`. */
  readonly peer: string | undefined
  /** Whether it is TLS: Strict-Transport-Security belongs on such answers, and only there (RFC 6797, section 7.2). */
  readonly secure: boolean
  /** The address of the peer; empty on a unix socket. */
  readonly remoteAddress: string
}
