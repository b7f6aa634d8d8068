import { backUp, type MadeBackup } from '../adapters/sqlite-backup.ts'
import { type Examined, examine } from '../adapters/sqlite-examine.ts'
import { StateRefused } from '../adapters/state-refused.ts'
import type { StateSettings } from '../config/schema-listen.ts'
import { StartRefused } from '../core/start-refused.ts'

export type { Examined, MadeBackup }

/** @throws {StartRefused} where state is no file of our own */
export function stateFile(settings: StateSettings): string {
  switch (settings.kind) {
    case 'file':
      return settings.path
    case 'memory':
      throw new StartRefused([
        'state is in memory: there is nothing to back up or look through, for it is gone with the process (file:PATH keeps it)',
      ])
    case 'redis':
      throw new StartRefused([
        'state is in Redis: back it up there, by BGSAVE and a copy of its dump file, or by a copy of its append-only files, and look through that by redis-check-rdb or redis-check-aof',
      ])
  }
}

/** As the adapter does. @throws {StartRefused} */
export const backUpState = (path: string, to: string, force: boolean): Promise<MadeBackup> => told(() => backUp(path, to, force))

/** As the adapter does. @throws {StartRefused} */
export const examineState = (path: string): Promise<Examined> => told(async () => examine(path))

async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw cause instanceof StateRefused ? new StartRefused([cause.message]) : cause
  }
}
