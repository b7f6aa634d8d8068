import { createHash, randomBytes } from 'node:crypto'

/** Who is asked for name and password on the way. */
export interface Credentials {
  readonly username: string
  readonly password: string
}

const steps = 25

/**
 * Goes from an address to a redirect that begins with `end`, as a browser does: redirects, cookies by path, and forms, of which the
 * one for name and password is filled in and those that post SAML messages are sent on.
 * @returns that redirect's address @throws with the page's text where it stops elsewhere
 */
export async function browse(from: string, end: string, credentials: Credentials): Promise<URL> {
  const cookies = new Map<string, { path: string; pair: string }>()
  let next: { url: URL; form?: URLSearchParams } = { url: new URL(from) }
  for (let step = 0; step < steps; step++) {
    const { url, form } = next
    const cookie = [...cookies.values()].filter(({ path }) => url.pathname.startsWith(path)).map(({ pair }) => pair)
    const response: Response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: { cookie: cookie.join('; ') },
      ...(form ? { body: form } : {}),
    })
    for (const set of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = set.split(';').map((part) => part.trim())
      const path = attributes.find((one) => /^path=/i.test(one))?.slice('path='.length) ?? '/'
      cookies.set(`${path} ${pair.split('=')[0]}`, { path, pair })
    }
    const location = response.headers.get('location')
    const page = await response.text()
    if (location !== null) {
      next = { url: new URL(location, url) }
      if (next.url.href.startsWith(end)) return next.url
    } else next = submit(page, url, response.status, credentials)
  }
  throw new Error(`no end of redirects from ${from}`)
}

function submit(page: string, at: URL, status: number, { username, password }: Credentials): { url: URL; form: URLSearchParams } {
  const [, attributes = '', inside = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/i.exec(page) ?? []
  const action = /action="([^"]*)"/i.exec(attributes)?.[1]
  const fields = new Map(
    [...inside.matchAll(/<input([^>]*)>/gi)].map(([, text = '']) => [attribute(text, 'name') ?? '', attribute(text, 'value') ?? '']),
  )
  if (action !== undefined && fields.has('username') && fields.has('password') && !page.includes('id="input-error"'))
    return { url: new URL(plain(action), at), form: new URLSearchParams({ username, password }) }
  if (action !== undefined && (fields.has('SAMLRequest') || fields.has('SAMLResponse')))
    return { url: new URL(plain(action), at), form: new URLSearchParams([...fields].filter(([name]) => name !== '')) }
  const text = page
    .replace(/<(script|style)[\s\S]*?<\/\1>/gi, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
  throw new Error(`${status} at ${at.href.split('?')[0]}: ${text.slice(0, 600)}`)
}

const attribute = (text: string, name: string): string | undefined => {
  const value = new RegExp(`\\b${name}="([^"]*)"`, 'i').exec(text)?.[1]
  return value === undefined ? undefined : plain(value)
}

const plain = (html: string): string =>
  html
    .replace(/&#x([0-9a-f]+);/gi, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replace(/&quot;/g, '"')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')

/**
 * Logs a person in as `postern login` on a terminal would: authorization code with PKCE as the public client agentcube-cli, and a
 * loopback redirect with a port of its own.
 * @param broker the identity provider that the person chose; absent: the realm's own page
 * @returns the access token
 */
export async function logInByBrowser(issuer: string, credentials: Credentials, broker?: string, scope = 'openid'): Promise<string> {
  const verifier = randomBytes(32).toString('base64url')
  const redirect = `http://127.0.0.1:${20_000 + Math.floor(Math.random() * 20_000)}/callback`
  const query = new URLSearchParams({
    client_id: 'agentcube-cli',
    response_type: 'code',
    redirect_uri: redirect,
    scope,
    state: 'state-of-tests',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(broker === undefined ? {} : { kc_idp_hint: broker }),
  })
  const back = await browse(`${issuer}/protocol/openid-connect/auth?${query}`, redirect, credentials)
  const code = back.searchParams.get('code')
  if (code === null || back.searchParams.get('state') !== 'state-of-tests') throw new Error(`no code: ${back.search}`)
  const form = { grant_type: 'authorization_code', client_id: 'agentcube-cli', code, redirect_uri: redirect, code_verifier: verifier }
  const response = await fetch(`${issuer}/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams(form) })
  const body = (await response.json()) as { access_token?: string }
  if (body.access_token === undefined) throw new Error(`Keycloak answered ${response.status}: ${JSON.stringify(body)}`)
  return body.access_token
}
