import { appScopes, launchAnswer } from '../../core/broker.ts'
import { bearerOf } from '../../core/http-problem.ts'
import { readBody, refusal, tokenAnswer } from './http-answers.ts'
import type { BrokerHttpOptions, Call } from './http-ports.ts'
import { appAuthBody, launchBody } from './http-schemas.ts'

/** Calls of apps: a secret for a token, and launch tokens within the app's ceiling. */
export function appCalls({ issuer, present, apps, launchTokens, logIn, clock }: BrokerHttpOptions): readonly Call[] {
  return [
    {
      method: 'POST',
      path: '/v1/app/auth',
      limit: 'logins',
      run: async (c) => {
        const body = await readBody(c, appAuthBody)
        if (body instanceof Response) return body
        const minted = await logIn(body.client_id, body.client_secret, c.env.remoteAddress, clock())
        return minted ? c.json({ ...tokenAnswer(minted), scope: appScopes.join(' ') }) : refusal(c, 'invalid_client')
      },
    },
    {
      method: 'POST',
      path: '/v1/app/launch-tokens',
      limit: 'asks',
      run: async (c) => {
        const bearer = bearerOf(c.req.header('authorization'))
        const token = bearer === undefined ? undefined : present(bearer, { kind: 'app', audience: issuer }, clock())
        // An app that is removed has tokens that still verify.
        const app = token && (await apps.get(token.subject))
        if (!app) return refusal(c, 'invalid_token')
        const body = await readBody(c, launchBody)
        if (body instanceof Response) return body
        const made = await launchTokens.create(body, app.id, app)
        return made ? c.json(launchAnswer(body, made), 201) : refusal(c, 'scope_outside_ceiling')
      },
    },
  ]
}
