import { readFileSync } from 'node:fs'

/** How long a file's content is used before it is read again: tokens and key sets that rotate are in use within this. */
const freshMs = 30_000

/**
 * The text of a file that may be replaced while the service runs, such as a token that rotates. Certificates and their keys are
 * files that belong together: those are the business of certificate-files.ts.
 * @returns a function that reads again at most every 30 s; where that fails the last good text stays in use
 * @throws what `node:fs` throws, where the file cannot be read at all
 */
export function freshFile(path: string, clock: () => number = () => performance.now()): () => string {
  let text = readFileSync(path, 'utf8')
  let readAt = clock()
  return () => {
    if (clock() - readAt >= freshMs) {
      readAt = clock()
      try {
        text = readFileSync(path, 'utf8')
      } catch {
        // Half-way through a replacement: the next look finds it.
      }
    }
    return text
  }
}
