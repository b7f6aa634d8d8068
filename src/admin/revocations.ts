import { setTimeout as sleep } from 'node:timers/promises'
import type { Hono } from 'hono'
import { z } from 'zod'
import { revocationLevels } from '../core/ports.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { looksLikeApiKey, revokeApiKey } from './api-keys.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

const levels = [...revocationLevels, 'key'] as const
const day = 86_400

/** Seconds that the entry of a token is kept whose end the caller does not tell: longer than tokens live anywhere we know of. */
const tokenKept = 400 * day
/**
 * Seconds that the others are kept. There are few of them, a subject may have API keys and certificates that never end, and
 * a token that lives long, or has no `iat`, must not come back.
 */
const othersKept = 3650 * day

/** A lone surrogate has no UTF-8 of its own: state would hold another target than was meant. */
const target = z
  .string()
  .min(1)
  .max(2048)
  .refine((text) => text.isWellFormed(), { error: 'expected well-formed text' })
const what = z.strictObject({ level: z.enum(levels), target })
const revocation = what
  .extend({
    /** `exp` of the token, seconds since the epoch. */
    expires_at: z.number().min(0).max(4_294_967_295).optional(),
  })
  .refine(({ level, expires_at }) => expires_at === undefined || level === 'token', {
    error: 'expected for the level token alone',
    path: ['expires_at'],
  })

const looksLikeJwt = (text: string): boolean => /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text)

/** What is wrong with a target that is a credential itself, and so must not stand in state or in the audit trail. */
function credentialAsTarget(c: AdminContext, level: string, given: string): Response | undefined {
  if (looksLikeApiKey(given)) return problem(c, 400, 'key_as_target', 'the target is the id of an API key, not the key itself: level key')
  if (!looksLikeJwt(given)) return undefined
  const expected = level === 'token' ? 'the target of the level token is its jti' : `the target of the level ${level} is an id`
  return problem(c, 400, 'token_as_target', `${expected}, not the token itself`)
}

/**
 * `POST /v1/revoke {level, target, expires_at?}`: what was issued up to now is refused, on every replica within 1 s, and
 * `POST /v1/revoke/lift {level, target}` ends that for credentials that have no instant of their own.
 */
export function addRevocations(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { revocations, clock } = options

  app.post('/v1/revoke', demand('admin:revoke:*'), async (c) => {
    const asked = await readBody(c, revocation)
    if (asked instanceof Response) return asked
    const { level, target, expires_at } = asked
    const refused = credentialAsTarget(c, level, target)
    if (refused) return refused
    if (level === 'key') {
      if (!(await revokeApiKey(options, target, c.get('caller').name)))
        return problem(c, 404, 'unknown_key', 'there is no API key with this id')
      return c.json({ revoked: true, level, target })
    }
    const at = Math.floor(clock() / 1000)
    const until = expires_at === undefined ? at + (level === 'token' ? tokenKept : othersKept) : Math.max(at, Math.ceil(expires_at))
    await revocations.append({ level, target, at, until })
    await record(options, { type: 'token_revoked', outcome: 'success', actor: c.get('caller').name, target, detail: { level } })
    options.metrics.tokenRevoked(level)
    return c.json({ revoked: true, level, target })
  })

  app.post('/v1/revoke/lift', demand('admin:revoke:*'), async (c) => {
    const asked = await readBody(c, what)
    if (asked instanceof Response) return asked
    const { level, target } = asked
    const refused = credentialAsTarget(c, level, target)
    if (refused) return refused
    if (level === 'token' || level === 'key') {
      const instead = level === 'token' ? 'a new token' : 'a new API key'
      return problem(
        c,
        400,
        'not_liftable',
        `the level ${level} cannot be lifted: what was revoked stays so, and ${instead} is not concerned`,
      )
    }
    const known = await revocations.known(level, target)
    if (!known) return problem(c, 404, 'not_revoked', 'nothing is revoked by this level and target')
    if (known.lifted) return c.json({ lifted: true, level, target })
    // It lifts what was revoked before the second after the revocation that is known, and waits until that second has passed:
    // another revocation at this moment, though by a replica whose clock is a second behind, is never taken for the lifted one.
    const ready = (known.at + 2) * 1000
    if (ready - clock() > longestWaitMs)
      return problem(
        c,
        409,
        'revoked_ahead',
        'it was revoked at an instant that this clock has not come to yet: the clocks of the replicas differ',
      )
    if (ready > clock()) await sleep(ready - clock())
    if ((await revocations.known(level, target))?.at !== known.at)
      return problem(c, 409, 'revoked_meanwhile', 'it was revoked again meanwhile, and that stays in force')
    await revocations.append({ level, target, at: known.at + 1, until: known.until, lifted: true })
    await record(options, {
      type: 'token_revoked',
      outcome: 'success',
      reason: 'lifted',
      actor: c.get('caller').name,
      target,
      detail: { level, lifted: true },
    })
    return c.json({ lifted: true, level, target })
  })
}

/** Milliseconds: whoever lifts right after a revocation waits for less. */
const longestWaitMs = 3000
