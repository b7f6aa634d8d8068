import type { Minted } from '../../core/issuer.ts'
import { isJsonObject, type JsonObject } from '../../core/json.ts'
import { clockSkew } from '../../core/jwt.ts'
import { type Revocation, Unavailable } from '../../core/ports.ts'
import type { RecordStore, StoredRecord } from '../../core/record-store.ts'

/** What is kept of the tokens that came of one exchange, so that a refresh token is good once on all replicas. */
export interface Family {
  readonly id: string
  readonly client: string
  readonly subject: string
  /** Seconds since the epoch. */
  readonly until: number
}

/** An access token that a family gave. Seconds since the epoch. */
type Given = Pick<Minted, 'id' | 'expiresAt'>

export interface Families {
  /** @throws {Unavailable} */
  readonly begin: (family: Family, given: readonly Given[]) => Promise<void>
  /**
   * Takes a turn of a family for this call alone.
   * @returns `spent` where it was taken before, `ended` where the family has ended, or nobody knows it
   * @throws {Unavailable}
   */
  readonly take: (id: string, turn: number) => Promise<Turn | 'spent' | 'ended'>
  /** Whether a turn of a family is the one that is good. @throws {Unavailable} */
  readonly isGood: (id: string, turn: number) => Promise<boolean>
  /**
   * Ends a family: its refresh token is refused from now on, and the access tokens that it gave are revoked.
   * @param now milliseconds since the epoch
   * @returns ids of the tokens that were revoked
   * @throws {Unavailable}
   */
  readonly end: (id: string, now: number) => Promise<readonly string[]>
}

export interface Turn {
  /**
   * Notes the access token that was issued for it.
   * @param now milliseconds since the epoch
   * @returns false where the family was ended meanwhile: then the token is revoked already
   */
  readonly give: (given: Given, now: number) => Promise<boolean>
}

export interface FamiliesNeeds {
  readonly records: Pick<RecordStore, 'read' | 'write'>
  readonly revoke: (revocation: Revocation) => Promise<void>
}

/** Times that several replicas write the same record at once, before one gives up. */
const attempts = 8
/** Access tokens of a family that may be valid at a time and are remembered; the oldest leave first. */
const mostGiven = 50

/**
 * Families in the records of the issuer. Each write is a compare and swap, so that of two calls with one refresh token, on
 * whichever replicas, the second finds it spent; no near copy is ever asked.
 */
export function families({ records, revoke }: FamiliesNeeds): Families {
  const revokeAll = async (given: readonly Given[], now: number): Promise<string[]> => {
    const at = Math.floor(now / 1000)
    const alive = given.filter((one) => isAdmitted(one, at))
    for (const { id, expiresAt } of alive) await revoke({ level: 'token', target: id, at, until: expiresAt })
    return alive.map(({ id }) => id)
  }

  return {
    begin: async ({ id, client, subject, until }, given) => {
      const value = storedValue({ client, subject, turn: 0, ended: false, given })
      if ((await records.write('token', { id, value, until }, undefined)) === undefined)
        throw new Unavailable('this family is there already')
    },
    take: async (id, turn) => {
      const found = await records.read('token', id)
      const kept = found && read(found)
      if (!found || !kept || kept.ended) return 'ended'
      if (kept.turn !== turn) return 'spent'
      const taken = { ...kept, turn: turn + 1 }
      const revision = await records.write('token', { id, value: storedValue(taken), until: found.until }, found.revision)
      if (revision === undefined) return 'spent'
      return {
        give: async (given, now) => {
          const alive = kept.given.filter((one) => isAdmitted(one, now / 1000))
          const value = storedValue({ ...taken, given: [...alive, given].slice(-mostGiven) })
          if ((await records.write('token', { id, value, until: found.until }, revision)) !== undefined) return true
          await revokeAll([given], now)
          return false
        },
      }
    },
    isGood: async (id, turn) => {
      const found = await records.read('token', id)
      const kept = found && read(found)
      return kept !== undefined && !kept.ended && kept.turn === turn
    },
    end: async (id, now) => {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const found = await records.read('token', id)
        const kept = found && read(found)
        if (!found || !kept) return []
        const ended = { ...kept, ended: true }
        const written = kept.ended || (await records.write('token', { id, value: storedValue(ended), until: found.until }, found.revision))
        // Revoked again where it was ended already: whoever ended it may have been stopped half-way.
        if (written !== undefined) return revokeAll(kept.given, now)
      }
      throw new Unavailable('the record of a family of tokens is written by others all the time')
    },
  }
}

/** Whether the edge still takes it: for as long after its end as clocks may be apart. @param at seconds since the epoch */
const isAdmitted = ({ expiresAt }: Given, at: number): boolean => expiresAt + clockSkew > at

interface Kept {
  readonly client: string
  readonly subject: string
  /** The only turn that is good. */
  readonly turn: number
  readonly ended: boolean
  readonly given: readonly Given[]
}

const kind = 'refresh-family'

/** Whether a record of the kind `token` is one of a family, and so no token itself. */
export const isFamily = ({ value }: Pick<StoredRecord, 'value'>): boolean => value['kind'] === kind

const storedValue = ({ client, subject, turn, ended, given }: Kept): JsonObject => ({
  kind,
  client,
  subject,
  turn,
  ended,
  given: given.map(({ id, expiresAt }) => ({ id, expires_at: expiresAt })),
})

function read({ value }: StoredRecord): Kept | undefined {
  const { client, subject, turn, ended, given } = value
  if (value['kind'] !== kind || typeof turn !== 'number' || !Array.isArray(given)) return undefined
  return {
    client: String(client),
    subject: String(subject),
    turn,
    ended: ended !== false,
    given: given.flatMap((one) => {
      if (!isJsonObject(one)) return []
      const { id, expires_at } = one
      return typeof id === 'string' && typeof expires_at === 'number' ? [{ id, expiresAt: expires_at }] : []
    }),
  }
}
