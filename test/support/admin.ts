/** A caller of Postern's admin listener who knows the secret. */
export interface AdminClient {
  readonly status: () => Promise<Readonly<Record<string, unknown>>>
  /** The text of /metrics. */
  readonly metrics: () => Promise<string>
  readonly revoke: (level: 'token' | 'subject', target: string) => Promise<void>
  readonly setOwner: (resource: string, id: string, owner: string) => Promise<void>
  /** A token of our own issuer for the edge. */
  readonly mint: (claims: { subject: string; roles?: string[]; scope?: string[]; ttl?: number }) => Promise<{ token: string; jti: string }>
  readonly call: (method: string, path: string, body?: unknown) => Promise<Response>
}

/** The admin secret of policies in tests, for `POSTERN_TEST_ADMIN_SECRET` in their environment. */
export const adminSecret = 'a-secret-of-tests-with-more-than-32-characters'

/** @param address host:port of a plaintext admin listener */
export async function adminClient(address: string): Promise<AdminClient> {
  const base = `http://${address}`
  const login = await fetch(`${base}/v1/admin/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ secret: adminSecret }),
  })
  if (!login.ok) throw new Error(`the admin login answered ${login.status}: ${await login.text()}`)
  const { access_token: token } = (await login.json()) as { access_token: string }
  const call = (method: string, path: string, body?: unknown): Promise<Response> =>
    fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const ok = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await call(method, path, body)
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`)
    return response
  }
  return {
    status: async () => (await (await ok('GET', '/status')).json()) as Record<string, unknown>,
    metrics: async () => (await fetch(`${base}/metrics`)).text(),
    revoke: async (level, target) => void (await ok('POST', '/v1/revoke', { level, target })),
    setOwner: async (resource, id, owner) => void (await ok('PUT', `/v1/resources/${resource}/${id}/labels`, { owner })),
    mint: async (claims) => {
      const minted = (await (await ok('POST', '/v1/admin/tokens', claims)).json()) as { access_token: string; jti: string }
      return { token: minted.access_token, jti: minted.jti }
    },
    call,
  }
}
