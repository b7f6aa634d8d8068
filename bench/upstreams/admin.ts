/** What the benchmark asks of Postern's admin listener. */
export interface Admin {
  /** Writes who owns a sandbox, and where it is. @throws where Postern refuses */
  readonly own: (id: string, owner: string, endpoint: string) => Promise<void>
}

/** @throws where the login is refused */
export async function openAdmin(url: string, secret: string): Promise<Admin> {
  const send = async (method: string, path: string, body: object, token?: string): Promise<Response> => {
    const headers = { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) }
    const answer = await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}`)
    return answer
  }
  const { access_token: token } = (await (await send('POST', '/v1/admin/auth', { secret })).json()) as { access_token: string }
  return {
    own: async (id, owner, endpoint) => {
      const labels = { 'agentcube.io/owner': owner, 'agentcube.io/endpoint': endpoint }
      await (await send('PUT', `/v1/resources/sandbox/${id}/labels`, labels, token)).arrayBuffer()
    },
  }
}
