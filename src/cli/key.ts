import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, withCommon } from './policy.ts'
import { writePrivate } from './private-file.ts'
import { table } from './table.ts'

interface GenerateOptions extends CommonOptions {
  readonly encryption?: boolean
  readonly out?: string
  readonly force?: boolean
}

function printKeys(io: Io, options: AdminOptions, answer: JsonObject): void {
  if (options.json) {
    printJson(io, answer)
    return
  }
  const keys = Array.isArray(answer['keys']) ? answer['keys'].filter(isJsonObject) : []
  const rows = keys.map((key) =>
    ['kid', 'algorithm', 'state', 'created_at', 'signs_from', 'signed_until'].map((name) => String(key[name] ?? '-')),
  )
  io.out(table(['KID', 'ALGORITHM', 'STATE', 'CREATED', 'SIGNS FROM', 'SIGNED UNTIL'], rows))
}

/** `postern key generate|rotate|list|pem|remove`. */
export function keyCommand(program: Command, io: Io): void {
  const key = program.command('key').description('make keys, and see and rotate those of the issuer')
  const generate = key
    .command('generate')
    .description('make an ES256 key pair (for private_key_jwt, say), or a key that encrypts the keys in Redis')
    .option('--encryption', '32 random bytes in base64, for issuer.keys.encryption_key')
    .option('--out <file>', 'write the secret there (mode 0600) instead of printing it')
    .option('--force', 'write over a file that is there')
  withCommon(generate, io).action((options: GenerateOptions) => {
    if (options.encryption) {
      const secret = randomBytes(32).toString('base64')
      if (options.out !== undefined) writePrivate(options.out, `${secret}\n`, options.force ?? false)
      if (options.json) printJson(io, options.out === undefined ? { encryption_key: secret } : { file: options.out })
      else io.out(options.out === undefined ? `${secret}\n` : `wrote ${options.out}\n`)
      return
    }
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const jwk = { ...publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }
    if (options.out !== undefined) writePrivate(options.out, pem, options.force ?? false)
    if (options.json) printJson(io, { public: jwk, ...(options.out === undefined ? { private: pem } : { file: options.out }) })
    else io.out(`${options.out === undefined ? pem : `wrote ${options.out}\n`}${JSON.stringify(jwk)}\n`)
  })
  withAdmin(key.command('list').description("the issuer's keys"), io).action(async (options: AdminOptions) => {
    printKeys(io, options, await (await openAdmin(options, io)).call('GET', '/v1/admin/keys'))
  })
  const pem = key
    .command('pem')
    .description('a public key of the issuer as PEM, for upstreams that take no key set: the one that signs')
    .option('--alg <algorithm>', 'the one that signs tokens of this algorithm (ES256, EdDSA or RS256)')
    .option('--kid <kid>', 'the one with this id, such as the next one')
  withAdmin(pem, io).action(async (options: AdminOptions & { alg?: string; kid?: string }) => {
    const { keys } = await (await openAdmin(options, io)).call('GET', '/v1/admin/keys')
    const fits = ({ kid, algorithm, state }: JsonObject): boolean =>
      (options.kid === undefined ? state === 'signing' : kid === options.kid) && (options.alg === undefined || algorithm === options.alg)
    const fitting = (Array.isArray(keys) ? keys.filter(isJsonObject) : []).filter(fits)
    // Keys for a few audiences alone have a prefix.
    const found = fitting.find(({ kid }) => !String(kid).includes(':')) ?? fitting[0]
    if (!found) throw new CommandFailed(1, 'the issuer has no such key: postern key list shows those that it has')
    if (options.json) printJson(io, { kid: found['kid'] ?? null, algorithm: found['algorithm'] ?? null, pem: found['public_key'] ?? null })
    else io.out(String(found['public_key']))
  })
  const rotate = key.command('rotate').description('make a new key, which signs once it has been published long enough')
  withAdmin(rotate.option('--now', 'sign with it within 3 s: its tokens fail where the key set is cached'), io).action(
    async (options: AdminOptions & { now?: boolean }) => {
      printKeys(io, options, await (await openAdmin(options, io)).call('POST', '/v1/admin/keys/rotate', { now: options.now ?? false }))
    },
  )
  const remove = key.command('remove <kid>').description('take away a key that may have leaked: what it signed is refused at once')
  withAdmin(remove, io).action(async (kid: string, options: AdminOptions) => {
    printKeys(io, options, await (await openAdmin(options, io)).call('DELETE', `/v1/admin/keys/${encodeURIComponent(kid)}`))
  })
}
