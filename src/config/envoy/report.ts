import type { Finding } from './finding.ts'
import type { EnvoyLint } from './lint.ts'

/** Steps at each end of a path that a table shows. */
const shownSteps = 3

/** Names of the columns of {@link findingRow}. */
export const findingColumns = ['SEVERITY', 'CODE', 'PLACE', 'FINDING'] as const

/** One finding as a row of a table. */
export function findingRow(finding: Finding): string[] {
  const { severity, code, file, line, column, path, problem, why, instead } = finding
  return [severity, code, `${file}:${line}:${column}`, `${shortPath(path)}${problem}: ${why}; ${instead}`]
}

/** `static_resources.listeners[0]…http_filters[2]: ` */
function shortPath(path: string): string {
  if (path === '') return ''
  const steps = path.match(/[^.[\]]+(?:\[\d+\])*|\["(?:[^"\\]|\\.)*"\]/g) ?? [path]
  if (steps.length <= 2 * shownSteps) return `${path}: `
  const dotted = (some: readonly string[]): string => some.map((step, i) => (i === 0 || step.startsWith('[') ? step : `.${step}`)).join('')
  return `${dotted(steps.slice(0, 2))}…${dotted(steps.slice(-2))}: `
}

/** How many findings there are of each severity: `2 errors, 1 warning, 0 notes`. */
export function findingsCounted({ findings }: EnvoyLint): string {
  const count = (severity: Finding['severity']): string => {
    const n = findings.filter((finding) => finding.severity === severity).length
    return `${n} ${severity}${n === 1 ? '' : 's'}`
  }
  return `${count('error')}, ${count('warning')}, ${count('note')}`
}

/** Whether anything found is unsafe. */
export const isUnsafe = ({ findings }: EnvoyLint): boolean => findings.some(({ severity }) => severity === 'error')
