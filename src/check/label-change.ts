import type { Labels } from '../core/ownership.ts'
import { type LabelStore, Unavailable } from '../core/ports.ts'

/** Attempts to change labels that others change at the same time. */
const mostAttempts = 8

/**
 * Replaces the labels of a resource by compare and swap, however many others do.
 * @param decide the labels that are to be, or a word where they are to stay; asked again where somebody else was faster
 * @param guess `unknown`: that nobody knows the resource yet is the rule, and then one round trip is enough
 * @returns the word, or what the labels were before they were replaced
 * @throws {Unavailable}
 */
export async function changeLabels<Word extends string>(
  labels: Pick<LabelStore, 'read' | 'swap'>,
  resource: string,
  id: string,
  decide: (seen: Labels | undefined) => Labels | Word,
  guess?: 'unknown',
): Promise<Word | { readonly seen: Labels | undefined }> {
  for (let attempt = 0; attempt < mostAttempts; attempt++) {
    const guessed = attempt === 0 && guess !== undefined
    const seen = guessed ? undefined : (await labels.read(resource, id))?.labels
    const wanted = decide(seen)
    if (typeof wanted === 'string') return wanted
    if (await labels.swap(resource, id, seen, wanted)) return { seen }
  }
  throw new Unavailable('the labels of the resource change all the time')
}
