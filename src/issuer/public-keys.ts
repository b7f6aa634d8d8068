import type { KeyInfo } from '../core/issuer.ts'

const order = { signing: 0, published: 1, retired: 2 } as const

/**
 * The public keys as PEM, one block after the other, for upstreams that take no key set: the key that signs first, so that
 * whoever reads one block reads that; then those that will sign, then those that did.
 * @param wanted a key by its id, or those of an algorithm
 * @returns undefined where there is none
 */
export function publicKeysPem(
  keys: readonly KeyInfo[],
  wanted: { readonly kid: string } | { readonly algorithm: string },
): string | undefined {
  const found = keys.filter((key) => ('kid' in wanted ? key.kid === wanted.kid : key.algorithm === wanted.algorithm))
  const sorted = found.sort((a, b) => order[a.state] - order[b.state] || b.activeAt - a.activeAt)
  return sorted.length === 0 ? undefined : sorted.map(({ publicKey }) => publicKey).join('')
}
