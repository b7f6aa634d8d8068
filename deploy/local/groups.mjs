/** The groups of tests: which files are whose, how long they may take, and what those need that takes long to get. */

const minutes = 60_000

/** Folders under test/ that need real servers which are there in about two minutes, in the order in which they run … */
export const served = {
  contract: 6 * minutes,
  e2e: 18 * minutes,
  clients: 3 * minutes,
  realms: 5 * minutes,
  upstreams: 4 * minutes,
  federation: 4 * minutes,
  attacks: 5 * minutes,
  dex: 3 * minutes,
  keycloak: 10 * minutes,
  faults: 25 * minutes,
}

/** … those that press on the check listener alone … */
export const pressing = { conformance: 6 * minutes, floods: 4 * minutes }

/**
 * … and those whose programs are built from source first, the ones that show the most for their time first. `programs` are names of
 * programs.mjs, and `typical` is what the group takes, in minutes, by which it is decided whether it fits the time that is left.
 * @type {Record<'kubernetes' | 'spire' | 'workloads' | 'manifests' | 'everything' | 'upgrade' | 'images' | 'istio', { limit: number, typical: number, programs: readonly string[] }>}
 */
export const long = {
  kubernetes: { limit: 8 * minutes, typical: 2, programs: ['kubernetes'] },
  workloads: { limit: 4 * minutes, typical: 1, programs: ['spire', 'kubernetes'] },
  spire: { limit: 10 * minutes, typical: 5, programs: ['spire', 'spiffe-helper', 'spire-controller-manager', 'kubernetes'] },
  everything: { limit: 10 * minutes, typical: 4, programs: ['spire', 'spiffe-helper', 'keycloak'] },
  manifests: {
    limit: 8 * minutes,
    typical: 4,
    programs: ['helm', 'kustomize', 'schemas', 'kubernetes', 'spire-controller-manager', 'prometheus', 'nomad-jobspec'],
  },
  upgrade: { limit: 8 * minutes, typical: 4, programs: [] },
  images: {
    limit: 15 * minutes,
    typical: 8,
    programs: ['actionlint', 'docker', 'compose', 'keycloak', 'spire', 'spiffe-helper', 'prometheus'],
  },
  istio: { limit: 8 * minutes, typical: 4, programs: ['istiod', 'kubernetes', 'egctl'] },
}

/** @typedef {keyof typeof served | keyof typeof pressing | keyof typeof long | 'unit'} Group */

/** Every group, in the order in which they run; the first is no folder: Biome and the compiler. */
export const groups = /** @type {readonly ('checks' | Group)[]} */ ([
  'checks',
  'unit',
  ...Object.keys(served),
  ...Object.keys(pressing),
  ...Object.keys(long),
])

/** How long a group may take, in milliseconds. @param {Group} group */
export const limitOf = (group) => (group === 'unit' ? 22 * minutes : isLong(group) ? long[group].limit : { ...served, ...pressing }[group])

/** @param {string} group @returns {group is keyof typeof long} */
export const isLong = (group) => group in long

/** @param {string} group */
export const isServed = (group) => group in served || isLong(group)

/** The group of a test file: its folder's where that is one, else `unit`. @param {string} file @returns {Group} */
export function groupOf(file) {
  // Rules and tokens of federation need no server; a real SPIRE and a real Kubernetes do.
  if (file.startsWith('test/federation/real/')) return 'workloads'
  const name = file.split('/')[1] ?? ''
  return isServed(name) || name in pressing ? /** @type {Group} */ (name) : 'unit'
}
