import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodeJwt, generateKeyPair, type JWTPayload, SignJWT } from 'jose'

/** How the endpoint answers: as it should, or with one fault. */
export type TokenBehaviour =
  | 'well'
  /** Accepts, and never answers. */
  | 'hangs'
  /** 500. */
  | 'fails'
  /** 200, and no JSON. */
  | 'garbage'
  /** 400 `invalid_request`: it does not want to. */
  | 'refuses'
  | 'wrong_subject'
  | 'wrong_audience'
  | 'wider_scope'
  | 'later_expiry'

export interface TokenEndpoint {
  readonly port: number
  readonly url: string
  /** `delayMs`: how long each answer takes. */
  readonly behave: (behaviour: TokenBehaviour, delayMs?: number) => void
  /** Exchanges asked for so far. */
  readonly asked: () => number
  /** Nobody listens any more, and what was under way is cut … */
  readonly down: () => Promise<void>
  /** … until it listens again, on the same port. */
  readonly up: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** Seconds that an exchanged token lives at most. */
const life = 60

/**
 * Starts a small token endpoint on 127.0.0.1 that exchanges tokens by RFC 8693. It believes every subject token and every client:
 * what is under test is whoever asks.
 */
export async function startTokenEndpoint(): Promise<TokenEndpoint> {
  const { privateKey } = await generateKeyPair('ES256')
  let behaviour: TokenBehaviour = 'well'
  let delay = 0
  let asked = 0

  const token = (how: TokenBehaviour, subject: JWTPayload, form: URLSearchParams): Promise<string> => {
    const now = Math.floor(Date.now() / 1000)
    const scope = how === 'wider_scope' ? { scope: `${form.get('scope') ?? ''} admin:everything:*`.trim() } : {}
    return new SignJWT({
      iss: 'http://sts.example',
      sub: how === 'wrong_subject' ? 'mallory' : String(subject.sub),
      aud: how === 'wrong_audience' ? 'elsewhere' : String(form.get('audience')),
      iat: now,
      exp: how === 'later_expiry' ? (subject.exp ?? now) + 3600 : Math.min(now + life, subject.exp ?? now),
      ...scope,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .sign(privateKey)
  }

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    asked += 1
    // Judged when it is asked: a change while an answer is under way concerns the next one.
    const [now, wait] = [behaviour, delay]
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const form = new URLSearchParams(Buffer.concat(chunks).toString())
    const send = (status: number, body: string) => response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    const body = now === 'hangs' ? '' : await exchanged(now, form)
    if (wait > 0) await new Promise((done) => setTimeout(done, wait))
    if (now === 'hangs') return
    if (now === 'fails') return void send(500, '{"error":"server_error"}')
    if (now === 'garbage') return void send(200, '<html>not what was asked for</html>')
    if (now === 'refuses') return void send(400, '{"error":"invalid_request"}')
    send(200, body)
  }

  const exchanged = async (how: TokenBehaviour, form: URLSearchParams): Promise<string> =>
    JSON.stringify({
      access_token: await token(how, decodeJwt(form.get('subject_token') ?? ''), form),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: life,
    })

  let server: Server | undefined
  const listen = (port: number): Promise<number> =>
    new Promise((done, fail) => {
      const made = createServer((request, response) => {
        answer(request, response).catch(() => response.destroy())
      })
      made.once('error', fail)
      made.listen(port, '127.0.0.1', () => done((made.address() as AddressInfo).port))
      server = made
    })
  const down = (): Promise<void> =>
    new Promise((done) => {
      const closing = server
      server = undefined
      if (closing === undefined) return done()
      closing.close(() => done())
      closing.closeAllConnections()
    })
  const port = await listen(0)
  return {
    port,
    url: `http://127.0.0.1:${port}/token`,
    behave: (next, delayMs = 0) => {
      behaviour = next
      delay = delayMs
    },
    asked: () => asked,
    down,
    up: async () => {
      if (server === undefined) await listen(port)
    },
    stop: down,
  }
}
