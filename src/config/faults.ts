/** One step of a setting's path: a key of a mapping or an index of a list. */
export type Step = string | number
export type Path = readonly Step[]

/** Something wrong in the policy, with its place. Lines and columns begin at 1. */
export interface Fault {
  readonly file: string
  readonly line: number
  readonly column: number
  /** `routes[2].owner.id`; empty for the file as a whole. */
  readonly path: string
  /** One sentence: what is wrong and what was expected. Never holds the value of a secret. */
  readonly message: string
}

/** How to point: at the value of a path (the default), at its key, or at an offset inside a text value. */
export interface Aim {
  readonly at?: 'key' | 'value'
  /** UTF-16 units from the beginning of the text value. */
  readonly offset?: number
}

/** Notes a fault of the setting at `path`; whoever hands this out knows the files. */
export type Report = (path: Path, message: string, aim?: Aim) => void

/** `['routes', 2, 'owner', 'id']` → `routes[2].owner.id`; a key that could be misread is quoted. */
export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_][A-Za-z0-9_:-]*$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${JSON.stringify(step)}]`
  }
  return text
}

/** `file:line:column: path: message`, the form that editors and terminals make links of. */
export const faultText = (fault: Fault): string =>
  `${fault.file}:${fault.line}:${fault.column}: ${fault.path === '' ? '' : `${fault.path}: `}${fault.message}`

/** By file in the order given, then from top to bottom. */
export function sortFaults(faults: readonly Fault[], files: readonly string[]): Fault[] {
  const rank = new Map(files.map((file, i) => [file, i]))
  const of = (fault: Fault): number => rank.get(fault.file) ?? files.length
  return [...faults].sort((a, b) => of(a) - of(b) || a.line - b.line || a.column - b.column)
}
