/** State that cannot be used at all: the start is refused with this sentence (what was expected, and where). */
export class StateRefused extends Error {
  override readonly name = 'StateRefused'
}

// A realm stands between colons in every key, and so must not hold one.
const realmName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** @throws {StateRefused} where a realm could not be told from its neighbours inside a key */
export function checkRealm(realm: string): void {
  if (!realmName.test(realm))
    throw new StateRefused(
      `realm ${JSON.stringify(realm)}: expected letters, digits, '.', '_' and '-', at most 128 of them, for it is part of every key`,
    )
}
