/** What a command may touch of the process it runs in. */
export interface Io {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** All of standard input. */
  readonly stdin: () => Promise<string>
}

/** A command that ends with a code other than 0: 1 for what was denied or failed, 2 for wrong usage or a broken file. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly code: 1 | 2
  readonly sentences: readonly string[]

  constructor(code: 1 | 2, ...sentences: readonly string[]) {
    super(sentences.join('\n'))
    this.code = code
    this.sentences = sentences
  }
}

/** What `--json` prints. */
export const printJson = (io: Io, value: unknown): void => io.out(`${JSON.stringify(value, undefined, 2)}\n`)
