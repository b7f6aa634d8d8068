/** What `/token` answered. */
export interface Swapped {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Headers
}

/** Swaps a token as a workload does: with nothing but the token (RFC 8693, section 2.1). @param params added, or in place of what is asked */
export async function swap(issuer: string, token: string, params: Readonly<Record<string, string>> = {}): Promise<Swapped> {
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    subject_token: token,
    audience: 'postern',
    ...params,
  }
  const response = await fetch(`${issuer}/token`, { method: 'POST', body: new URLSearchParams(form) })
  return { status: response.status, body: (await response.json()) as Swapped['body'], headers: response.headers }
}
