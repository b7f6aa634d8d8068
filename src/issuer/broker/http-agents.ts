import type { BodySchema } from '../../core/http-body.ts'
import { bearerOf } from '../../core/http-problem.ts'
import type { OwnToken } from '../../core/issuer.ts'
import { type BrokerContext, readBody, refusal, tokenAnswer } from './http-answers.ts'
import type { BrokerHttpOptions, Call } from './http-ports.ts'
import { delegateBody, noBody, registerBody, validateBody } from './http-schemas.ts'
import { nonceLife } from './nonces.ts'

/** Calls of agents: how one is let in, and what it does with its token. */
export function agentCalls(options: BrokerHttpOptions): readonly Call[] {
  const { rules, present, nonces, register, renewal, delegate, clock } = options
  /** The agent's token, of the edge, in `Authorization`. */
  const presented = (c: BrokerContext, now: number): OwnToken | undefined => {
    const token = bearerOf(c.req.header('authorization'))
    return token === undefined ? undefined : present(token, { kind: 'edge', audience: rules().audience }, now)
  }
  const limit = 'asks' as const
  /** A call by the agent's token, which is looked at before the body. @param empty what no body stands for; absent: there must be one */
  const byToken = <T>(
    path: string,
    schema: BodySchema<T>,
    empty: unknown,
    run: (c: BrokerContext, token: OwnToken, now: number, body: T) => Promise<Response>,
  ): Call => ({
    method: 'POST',
    path,
    limit,
    run: async (c) => {
      const now = clock()
      const token = presented(c, now)
      if (!token) return refusal(c, 'invalid_token')
      const body = await readBody(c, schema, empty)
      return body instanceof Response ? body : run(c, token, now, body)
    },
  })

  return [
    { method: 'GET', path: '/v1/challenge', limit, run: (c) => c.json({ nonce: nonces.make(clock()), expires_in: nonceLife }) },
    {
      method: 'POST',
      path: '/v1/register',
      limit,
      run: async (c) => {
        const body = await readBody(c, registerBody)
        if (body instanceof Response) return body
        const registered = await register(
          {
            launchToken: body.launch_token,
            nonce: body.nonce,
            publicKey: body.public_key,
            signature: body.signature,
            orchestration: body.orch_id,
            task: body.task_id,
            scopes: body.requested_scope,
            ttl: body.ttl,
          },
          clock(),
        )
        if (registered.kind === 'refused') return refusal(c, registered.reason)
        return c.json({ agent_id: registered.agentId, ...tokenAnswer(registered.minted) }, 201)
      },
    },
    {
      method: 'POST',
      path: '/v1/token/validate',
      limit,
      run: async (c) => {
        const body = await readBody(c, validateBody)
        if (body instanceof Response) return body
        const token = present(body.token, { kind: 'edge', audience: rules().audience }, clock())
        return c.json(token ? { valid: true, claims: token.claims } : { valid: false })
      },
    },
    byToken('/v1/token/renew', noBody, {}, async (c, token, now) => {
      const renewed = await renewal.renew(token, now)
      return renewed.kind === 'refused' ? refusal(c, renewed.reason) : c.json(tokenAnswer(renewed.minted))
    }),
    byToken('/v1/token/release', noBody, {}, async (c, token, now) => {
      await renewal.release(token, now)
      return c.body(null, 204)
    }),
    byToken('/v1/delegate', delegateBody, undefined, async (c, token, now, body) => {
      const delegated = await delegate(token, { scopes: body.scope, ttl: body.ttl, agentId: body.agent_id }, now)
      return delegated.kind === 'refused' ? refusal(c, delegated.reason) : c.json(tokenAnswer(delegated.minted))
    }),
  ]
}
