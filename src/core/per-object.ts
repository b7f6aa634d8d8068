/**
 * A function of one object that is asked for again and again: what it makes is kept as long as the object is.
 * @param make called once for an object
 */
export function perObject<K extends object, V extends object | string>(make: (of: K) => V): (of: K) => V {
  const kept = new WeakMap<K, V>()
  return (of) => {
    const known = kept.get(of)
    if (known !== undefined) return known
    const made = make(of)
    kept.set(of, made)
    return made
  }
}
