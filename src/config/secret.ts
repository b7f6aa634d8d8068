import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { inspect } from 'node:util'

/** How secrets are referred to, for messages. */
export const referenceForm = `"\${env:NAME}" or "\${file:/path}"`

/** A secret file is read again at most this often, in milliseconds. */
const secretRefreshMs = 30_000

type Part = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'env' | 'file'; readonly name: string }

/** Where references are looked up, and who is told when a file cannot be read again. */
export interface SecretContext {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Folder that relative files are taken from. */
  readonly folder: string
  /** Milliseconds; monotonic. */
  readonly now: () => number
  /** A secret that was readable no longer is; its last good value stays in use. */
  readonly onFault: (message: string) => void
}

/**
 * A text that holds references to secrets, `${env:NAME}` and `${file:/path}`, and is never printed: JSON and
 * inspection show `[secret]`. Files are read again at most every 30 s; one trailing line break is no part of them.
 */
export class Secret {
  readonly #template: string
  readonly #parts: readonly Part[]
  readonly #inFiles: boolean
  #context: SecretContext | undefined
  #value: string | undefined
  #readAt = 0

  constructor(template: string) {
    this.#template = template
    this.#parts = parse(template)
    this.#inFiles = this.files.length > 0
  }

  /**
   * Reads all references for the first time.
   * @returns a sentence for each that cannot be had, naming the reference and never the value
   */
  open(context: SecretContext): string[] {
    this.#context = context
    const faults: string[] = []
    for (const part of this.#parts) {
      if (part.kind === 'text') continue
      try {
        lookUp(part, context)
      } catch (error) {
        faults.push(whyNot(part, error))
      }
    }
    if (faults.length === 0) this.#refresh(context)
    return faults
  }

  /** The value with all references filled in. @throws {Error} before a successful {@link open} */
  read(): string {
    const context = this.#context
    if (this.#value === undefined || !context) throw new Error('a secret was read before it was opened')
    if (this.#inFiles && context.now() - this.#readAt >= secretRefreshMs) this.#refresh(context)
    return this.#value
  }

  /** Whether there is a value: elsewhere than in a running service a secret may be one that this machine does not have. */
  get known(): boolean {
    return this.#value !== undefined
  }

  #refresh(context: SecretContext): void {
    this.#readAt = context.now()
    let value = ''
    for (const part of this.#parts) {
      if (part.kind === 'text') value += part.text
      else {
        try {
          value += lookUp(part, context)
        } catch (error) {
          context.onFault(`${whyNot(part, error)}; the last good value stays in use`)
          return
        }
      }
    }
    this.#value = value
  }

  /** Files referred to, as written. */
  get files(): readonly string[] {
    return this.#parts.flatMap((part) => (part.kind === 'file' ? [part.name] : []))
  }

  /** Environment variables referred to. */
  get variables(): readonly string[] {
    return this.#parts.flatMap((part) => (part.kind === 'env' ? [part.name] : []))
  }

  /** Whether the text around the references is all there is: a value written into the file. */
  get literal(): boolean {
    return this.#parts.every((part) => part.kind === 'text')
  }

  /** The text with `x` in place of each reference: for checks of form, such as that of a URL. */
  get shape(): string {
    return this.#parts.map((part) => (part.kind === 'text' ? part.text : 'x')).join('')
  }

  /** A sentence where the text holds a `${…}` of no known kind. */
  get malformed(): string | undefined {
    const other = this.#parts.some((part) => part.kind === 'text' && part.text.includes('${'))
    return other ? `expected references of the form ${referenceForm}` : undefined
  }

  /** A digest of what is written in the file, for telling two references apart without showing either. */
  get reference(): string {
    return hash('sha256', this.#template, 'base64url')
  }

  /** Whether both refer to the same; says nothing about their values. */
  sameReference(other: Secret): boolean {
    return this.#template === other.#template
  }

  toString(): string {
    return '[secret]'
  }
  toJSON(): string {
    return '[secret]'
  }
  [inspect.custom](): string {
    return '[secret]'
  }
}

const reference = /\$\{(env):([A-Za-z_][A-Za-z0-9_]*)\}|\$\{(file):([^}\u0000]+)\}/g

/** Whether a text holds anything like a reference. */
export const hasReference = (value: string): boolean => value.includes('${env:') || value.includes('${file:')

function parse(template: string): Part[] {
  const parts: Part[] = []
  let end = 0
  for (const match of template.matchAll(reference)) {
    if (match.index > end) parts.push({ kind: 'text', text: template.slice(end, match.index) })
    parts.push(match[1] ? { kind: 'env', name: match[2] ?? '' } : { kind: 'file', name: match[4] ?? '' })
    end = match.index + match[0].length
  }
  if (end < template.length) parts.push({ kind: 'text', text: template.slice(end) })
  return parts
}

class Missing extends Error {}

function lookUp(part: Exclude<Part, { kind: 'text' }>, context: SecretContext): string {
  const value =
    part.kind === 'env' ? context.env[part.name] : readFileSync(resolve(context.folder, part.name), 'utf8').replace(/\r?\n$/, '')
  if (value === undefined) throw new Missing('it is not set')
  if (value === '') throw new Missing('it is empty')
  return value
}

function whyNot(part: Exclude<Part, { kind: 'text' }>, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  const why =
    error instanceof Missing
      ? error.message
      : code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EACCES'
          ? 'it may not be read'
          : (code ?? 'it cannot be read')
  return part.kind === 'env'
    ? `the environment variable "${part.name}" is needed: ${why}`
    : `the secret file "${part.name}" is needed: ${why}`
}
