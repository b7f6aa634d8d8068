/**
 * The service refuses to start (or a command to run): each sentence says what is wrong, where, and what was
 * expected.
 */
export class StartRefused extends Error {
  override readonly name = 'StartRefused'
  readonly sentences: readonly string[]
  /** `policy`: the policy file is broken (exit code 2); `environment`: sockets, files or state (exit code 1). */
  readonly fault: 'policy' | 'environment'

  constructor(sentences: readonly string[], fault: 'policy' | 'environment' = 'environment') {
    super(sentences.join('\n'))
    this.sentences = sentences
    this.fault = fault
  }
}
