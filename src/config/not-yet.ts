import type { Path, Report, Step } from './faults.ts'
import type { Turns } from './turns.ts'

interface NotYet {
  /** `*` stands for any key or index. */
  readonly setting: readonly string[]
  /** Which values are refused; absent: any. */
  readonly when?: (value: unknown) => boolean
  /** Whether the sentence shows the value. */
  readonly shown?: true
  /** What to write instead. */
  readonly instead?: string
}

/** Settings of the format that this version refuses by name: building one deletes its row. */
export const notYet: readonly NotYet[] = []

/** Reports each setting in the data that this version does not have yet, at its key or at its value. */
export async function reportNotYet(data: unknown, turns: Turns, report: Report): Promise<void> {
  for (const row of notYet) {
    if (turns.due) await turns.next()
    visit(data, row.setting, 0, [], (path, value) => {
      if (row.when && !row.when(value)) return
      const last = row.setting.at(-1) ?? ''
      const what = row.shown ? `"${last}: ${String(value)}"` : `"${last}"`
      report(path, `${what} is not supported yet: ${row.instead ?? 'leave it out'}`, { at: row.shown ? 'value' : 'key' })
    })
  }
}

/** @param at the path so far, shared by all steps: whoever keeps it takes a copy */
function visit(value: unknown, pattern: readonly string[], depth: number, at: Step[], found: (path: Path, value: unknown) => void): void {
  const step = pattern[depth]
  if (step === undefined) {
    found([...at], value)
    return
  }
  if (typeof value !== 'object' || value === null) return
  const go = (key: Step, member: unknown): void => {
    at.push(key)
    visit(member, pattern, depth + 1, at, found)
    at.pop()
  }
  if (step !== '*') {
    if (!Array.isArray(value) && Object.hasOwn(value, step)) go(step, (value as Readonly<Record<string, unknown>>)[step])
  } else if (Array.isArray(value)) for (const [i, entry] of value.entries()) go(i, entry)
  else for (const [key, member] of Object.entries(value)) go(key, member)
}
