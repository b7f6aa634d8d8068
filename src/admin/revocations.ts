import type { Hono } from 'hono'
import { z } from 'zod'
import { type AdminEnv, problem } from './answers.ts'
import { looksLikeApiKey, revokeApiKey } from './api-keys.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

const levels = ['token', 'agent', 'task', 'chain', 'subject', 'client', 'key'] as const
const supported = ['token', 'subject', 'key'] as const
const day = 86_400

/**
 * Seconds that an entry is kept, longer than tokens live anywhere we know of. A subject's is kept much longer:
 * there are few, and a token without `exp` or `iat` must not come back.
 */
const keptFor = { token: 400 * day, subject: 3650 * day }

const body = z.strictObject({ level: z.enum(levels), target: z.string().min(1).max(1024) })
const isSupported = (level: string): level is (typeof supported)[number] => (supported as readonly string[]).includes(level)
const looksLikeJwt = (target: string): boolean => /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(target)

/** `POST /v1/revoke {level, target}`: what was issued up to now is refused, on every replica within 1 s. */
export function addRevocations(app: Hono<AdminEnv>, options: AdminOptions): void {
  app.post('/v1/revoke', demand('admin:revoke:*'), async (c) => {
    const asked = await readBody(c, body)
    if (asked instanceof Response) return asked
    const { level, target } = asked
    if (!isSupported(level)) {
      return problem(c, 400, 'not_supported_yet', `the level ${level} is not supported yet: expected one of ${supported.join(', ')}`)
    }
    if (level === 'key') {
      if (looksLikeApiKey(target)) return problem(c, 400, 'key_as_target', 'the target of the level key is its id, not the key itself')
      if (!(await revokeApiKey(options, target, c.get('caller').name)))
        return problem(c, 404, 'unknown_key', 'there is no API key with this id')
      return c.json({ revoked: true, level, target })
    }
    if (looksLikeJwt(target)) return problem(c, 400, 'token_as_target', 'the target of the level token is its jti, not the token itself')
    const at = Math.floor(options.clock() / 1000)
    await options.revocations.append({ level, target, at, until: at + keptFor[level] })
    await record(options, { type: 'token_revoked', outcome: 'success', actor: c.get('caller').name, target, detail: { level } })
    options.metrics.tokenRevoked(level)
    return c.json({ revoked: true, level, target })
  })
}
