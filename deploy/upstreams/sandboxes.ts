/** Where the workload manager keeps its sandboxes. */
export interface Sandboxes {
  /** @returns false where the id is taken. */
  readonly create: (id: string, owner: string) => Promise<boolean>
  /** Ids of one owner's. */
  readonly list: (owner: string) => Promise<readonly string[]>
  readonly ownerOf: (id: string) => Promise<string | undefined>
  /** @returns false where there is none. */
  readonly remove: (id: string) => Promise<boolean>
}

/** Without a cluster: what is made is forgotten when the process ends. */
export function inMemory(): Sandboxes {
  const owners = new Map<string, string>()
  return {
    create: async (id, owner) => {
      if (owners.has(id)) return false
      owners.set(id, owner)
      return true
    },
    list: async (owner) => [...owners].flatMap(([id, of]) => (of === owner ? [id] : [])),
    ownerOf: async (id) => owners.get(id),
    remove: async (id) => owners.delete(id),
  }
}
