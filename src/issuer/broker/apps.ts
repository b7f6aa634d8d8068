import { hash, randomBytes } from 'node:crypto'
import type { App, AppOrder, Apps } from '../../core/broker.ts'
import type { JsonObject } from '../../core/json.ts'
import type { RecordStore, StoredRecord } from '../../core/record-store.ts'
import { sameSecret } from '../../core/same-secret.ts'
import type { RecordAct } from '../issuance.ts'
import { numberOf, present, textOf, textsOf } from './record-values.ts'

export interface AppsNeeds {
  readonly records: RecordStore
  readonly record: RecordAct
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** Apps, and whether one knows its secret. */
export interface AppRegister extends Apps {
  /** @returns undefined where there is no such app, or this is not its secret; both take the same time. @throws {Unavailable} */
  readonly authenticate: (id: string, secret: string) => Promise<App | undefined>
}

interface Kept extends App {
  /** SHA-256 of the secret, hexadecimal. */
  readonly digest: string
}

const secretBytes = 32
const idBytes = 8
/** An update that others keep writing over is given up after so many turns. */
const mostTurns = 10

function read({ id, value }: StoredRecord): Kept | undefined {
  const [name, digest, scopes] = [value['name'], textOf(value['digest']), textsOf(value['scopes'])]
  if (typeof name !== 'string' || digest === undefined || scopes === undefined) return undefined
  const createdAt = numberOf(value['created_at']) ?? 0
  return {
    id,
    name,
    digest,
    scopes,
    tokenTtl: numberOf(value['token_ttl']),
    createdAt,
    updatedAt: numberOf(value['updated_at']) ?? createdAt,
  }
}

const write = ({ name, digest, scopes, tokenTtl, createdAt, updatedAt }: Kept): JsonObject =>
  present({ name, digest, scopes: [...scopes], token_ttl: tokenTtl, created_at: createdAt, updated_at: updatedAt })

const shown = ({ digest: _, ...app }: Kept): App => app
const detailOf = ({ name, scopes, tokenTtl }: App): JsonObject => present({ name, scopes: [...scopes], token_ttl: tokenTtl })

/** Apps as records of the kind `app`: of the secret only the hash is kept. */
export function createApps({ records, record, clock }: AppsNeeds): AppRegister {
  const find = async (id: string): Promise<{ readonly stored: StoredRecord; readonly kept: Kept } | undefined> => {
    // What can be no id is not asked for.
    if (!/^[!-~]{1,256}$/.test(id)) return undefined
    const stored = await records.read('app', id)
    const kept = stored && read(stored)
    return stored && kept && { stored, kept }
  }
  const now = (): number => Math.floor(clock() / 1000)

  return {
    create: async (order, actor) => {
      const secret = randomBytes(secretBytes).toString('hex')
      for (;;) {
        const id = `app-${randomBytes(idBytes).toString('hex')}`
        const at = now()
        const kept: Kept = { ...order, id, digest: hash('sha256', secret), createdAt: at, updatedAt: at }
        if ((await records.write('app', { id, value: write(kept), until: 0 }, undefined)) === undefined) continue
        await record({ type: 'app_created', outcome: 'success', actor, target: id, detail: detailOf(kept) })
        return { app: shown(kept), secret }
      }
    },
    get: async (id) => {
      const found = await find(id)
      return found && shown(found.kept)
    },
    list: async (most, after) => {
      const { records: page, cursor } = await records.list('app', most, after)
      return { apps: page.map(read).flatMap((kept) => (kept ? [shown(kept)] : [])), cursor }
    },
    update: async (id, change, actor) => {
      for (let turn = 0; turn < mostTurns; turn++) {
        const found = await find(id)
        if (!found) return undefined
        const next = changed(found.kept, change, now())
        if ((await records.write('app', { id, value: write(next), until: 0 }, found.stored.revision)) === undefined) continue
        await record({ type: 'app_updated', outcome: 'success', actor, target: id, detail: detailOf(next) })
        return shown(next)
      }
      throw new Error(`the app ${id} is being written over by others`)
    },
    remove: async (id, actor) => {
      const found = await find(id)
      if (!found || !(await records.remove('app', id))) return false
      await record({ type: 'app_removed', outcome: 'success', actor, target: id, detail: detailOf(found.kept) })
      return true
    },
    authenticate: async (id, secret) => {
      const found = await find(id)
      const matches = sameSecret(hash('sha256', secret), found?.kept.digest ?? '')
      return found && matches ? shown(found.kept) : undefined
    },
  }
}

const changed = (kept: Kept, { name, scopes, tokenTtl }: Partial<AppOrder>, updatedAt: number): Kept => ({
  ...kept,
  ...(name !== undefined && { name }),
  ...(scopes !== undefined && { scopes }),
  ...(tokenTtl !== undefined && { tokenTtl }),
  updatedAt,
})
