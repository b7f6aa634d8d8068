import { accessSync, constants, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { encryptionKeyBytes } from '../core/encryption-key.ts'
import { readSharedTokens } from '../core/shared-tokens.ts'
import { systemCode } from '../core/system-code.ts'
import type { Path, Report, Step } from './faults.ts'
import { privateFileFault } from './private-file.ts'
import type { Settings } from './schema.ts'
import { hasReference, referenceForm, Secret, type SecretContext } from './secret.ts'
import type { Turns } from './turns.ts'

/** Settings that may be, or hold, references to secrets; `*` stands for any key or index. */
const bearing: readonly (readonly string[])[] = [
  ['admin', 'secret'],
  ['state'],
  ['state', 'redis', 'url'],
  ['state', 'redis', 'password'],
  ['state', 'redis', 'sentinel', 'password'],
  ['sources', '*', 'redis'],
  ['sts', '*', 'auth', 'secret'],
  ['sts', '*', 'auth', 'private_key_jwt', 'key'],
  ['issuer', 'keys', 'encryption_key'],
  ['issuer', 'clients', '*', 'auth', 'secret'],
  ['issuer', 'federation', '*', 'jwks', 'token'],
  ['identity', '*', 'secret'],
  ['identity', '*', 'jwks', 'token'],
  ['identity', '*', 'introspection', 'auth', 'secret'],
  ['identity', '*', 'introspection', 'auth', 'private_key_jwt', 'key'],
  ['identity', '*', 'proof', 'secret'],
]

/** Whether a setting may hold a reference to a secret. */
export const bearsSecret = (path: Path): boolean => bearing.some((pattern) => matches(pattern, path))

/**
 * Visits every text of the data.
 * @param visit gets the text, and its path where it asks for it
 */
export async function eachText(data: unknown, turns: Turns, visit: (text: string, path: () => Path) => void): Promise<void> {
  const at: Step[] = []
  const path = (): Path => [...at]
  const walk = (value: unknown): void => {
    if (typeof value === 'string') visit(value, path)
    else if (typeof value === 'object' && value !== null) for (const [step, member] of members(value)) under(step, member)
  }
  const under = (step: Step, member: unknown): void => {
    at.push(step)
    walk(member)
    at.pop()
  }
  if (typeof data !== 'object' || data === null) return walk(data)
  // The sections, and their entries, one by one: these may be many.
  for (const [section, content] of members(data)) {
    at.push(section)
    if (typeof content !== 'object' || content === null) walk(content)
    else
      for (const [step, member] of members(content)) {
        if (turns.due) await turns.next()
        under(step, member)
      }
    at.pop()
  }
}

const members = (value: object): Iterable<[Step, unknown]> => (Array.isArray(value) ? value.entries() : Object.entries(value))

/** Reports references where none is filled in. */
export async function checkReferences(data: unknown, turns: Turns, report: Report): Promise<void> {
  await eachText(data, turns, (text, path) => {
    if (hasReference(text) && !bearsSecret(path()))
      report(path(), 'a reference is not filled in here: expected the text itself, or its environment override')
  })
}

/** Visits every secret of parsed settings with its path in the file. */
function eachSecret(value: unknown, visit: (path: Path, secret: Secret) => void, path: Path = []): void {
  if (value instanceof Secret) visit(path, value)
  else if (Array.isArray(value)) for (const [i, entry] of value.entries()) eachSecret(entry, visit, [...path, i])
  else if (typeof value === 'object' && value !== null)
    for (const [key, member] of Object.entries(value)) eachSecret(member, visit, [...path, key])
}

/** Settings whose whole value is secret, with a sentence where it is not what it must be; `*` stands for any key or index. */
const demands: readonly { readonly path: readonly string[]; readonly fault: (value: string) => string | undefined }[] = [
  {
    path: ['admin', 'secret'],
    fault: (value) =>
      [...value].length < 32
        ? 'the admin secret is too short: expected at least 32 characters'
        : repeats(value)
          ? 'the admin secret says the same again and again: expected 32 characters that nobody can guess, such as openssl rand -hex 32 gives'
          : undefined,
  },
  {
    path: ['issuer', 'keys', 'encryption_key'],
    fault: (value) =>
      encryptionKeyBytes(value) ? undefined : 'the encryption key has another length or form: expected 32 bytes as base64 or hex',
  },
  {
    path: ['issuer', 'clients', '*', 'auth', 'secret'],
    fault: (value) => ([...value].length < 16 ? 'the client secret is too short: expected at least 16 characters' : undefined),
  },
  {
    // Of all validators only shared-token has a secret of this name.
    path: ['identity', '*', 'secret'],
    fault: (value) => {
      const read = readSharedTokens(value)
      return typeof read === 'string' ? read : undefined
    },
  },
  {
    path: ['identity', '*', 'proof', 'secret'],
    fault: (value) =>
      // Whoever guesses it may say who they are, and may guess as often as they like.
      [...value].length < 32
        ? "the edge's proof is too short: expected at least 32 characters"
        : headerText.test(value)
          ? undefined
          : "the edge's proof holds what no header can carry: expected one line of visible ASCII, such as openssl rand -hex 32 gives",
  },
]

/** Whether a text is a piece of at most half its length, again and again. */
function repeats(value: string): boolean {
  const most = Math.min(value.length / 2, 512)
  for (let piece = 1; piece <= most; piece++) if (value.slice(piece) === value.slice(0, -piece)) return true
  return false
}

/** A field value that arrives as it was sent (RFC 9110, section 5.5). */
const headerText = /^[!-~](?:[ -~]*[!-~])?$/

const matches = (pattern: readonly string[], path: Path): boolean =>
  pattern.length === path.length && pattern.every((step, i) => step === '*' || step === path[i])

/**
 * Opens all secrets of the settings, and checks what they hold and who may read their files.
 * @param report what cannot be had, is too short or is open to others
 * @param fault what is wrong wherever the file is read: a bad reference, a written-out value that is too short
 * @param warn files that a group may read, and secrets that are written out
 * @returns absolute paths of the files referred to
 */
export function openSecrets(
  settings: Partial<Settings>,
  context: SecretContext,
  overridden: ReadonlySet<string>,
  report: Report,
  fault: Report,
  warn: Report,
): string[] {
  const files = new Set<string>()
  eachSecret(settings, (found, secret) => {
    const path = inFile(found)
    const malformed = secret.malformed
    if (malformed) fault(path, malformed)
    for (const name of secret.files) {
      const file = resolve(context.folder, name)
      files.add(file)
      checkPrivate(file, path, report, warn)
    }
    const faults = secret.open(context)
    for (const sentence of faults) report(path, sentence)
    const setting = path.join('.')
    const written = secret.literal && !overridden.has(setting)
    const demand = faults.length === 0 && !malformed ? demands.find((one) => matches(one.path, path)) : undefined
    const wrong = demand?.fault(secret.read())
    if (wrong !== undefined) (written ? fault : report)(path, wrong)
    if (written && holdsSecret(path, secret)) warn(path, `a secret is written into the file: write a reference, ${referenceForm}`)
  })
  return [...files]
}

/** `state` of the settings has another shape than in the file. */
const inFile = (path: Path): Path => (path[0] === 'state' ? (path[1] === 'url' ? ['state'] : ['state', 'redis', ...path.slice(1)]) : path)

/** The URL of a Redis is no secret without a password. */
function holdsSecret(path: Path, secret: Secret): boolean {
  if (path[0] !== 'state' && path[0] !== 'sources') return true
  return !URL.canParse(secret.shape) || new URL(secret.shape).password !== '' || path.at(-1) === 'password'
}

/** Reports a file that others may read. */
export function checkPrivate(file: string, path: Path, report: Report, warn: Report): void {
  const fault = privateFileFault(file)
  if (fault) (fault.severity === 'refuse' ? report : warn)(path, fault.message)
}

/** Reports a file that is not there, or that this user may not read. */
export function checkReadable(file: string, path: Path, report: Report): void {
  try {
    accessSync(file, constants.R_OK)
    if (!statSync(file).isDirectory()) return
    report(path, `"${file}" is a folder: expected a PEM file`)
  } catch (error) {
    const code = systemCode(error)
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'this user may not' : code
    report(path, `"${file}" cannot be read: ${why}`)
  }
}
