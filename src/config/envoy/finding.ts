import { type FindingCode, findings, type Severity } from './codes.ts'
import type { Setting } from './setting.ts'

/** Something in an Envoy-side configuration that is unsafe, or works worse than it could. */
export interface Finding {
  readonly severity: Severity
  readonly code: FindingCode
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly column: number
  /** `static_resources.listeners[0].filter_chains[0]…`; the setting may be absent there. */
  readonly path: string
  /** For what concerns a route: its virtual host, and its name or what it matches. */
  readonly virtual_host?: string
  readonly route?: string
  /** What is wrong. */
  readonly problem: string
  /** One clause. */
  readonly why: string
  /** What to write, or else to do: a whole sentence in the imperative. */
  readonly instead: string
}

const imperative = /^(?:leave|put) /

/** Where a finding about a route stands. */
export interface RouteName {
  readonly virtualHost: string
  readonly route: string
}

export interface More {
  /** Where it is not that of the code. */
  readonly severity?: Severity
  readonly route?: RouteName | undefined
}

/** Takes what the checks find, each place once. */
export class Findings {
  readonly #found = new Map<string, Finding>()
  readonly #unchecked = new Set<string>()

  /** @param problem what is wrong @param instead what to write; or a whole imperative, such as "leave it out" */
  readonly tell = (code: FindingCode, at: Setting, problem: string, instead: string, { severity, route }: More = {}): void => {
    const known = findings[code]
    const finding: Finding = {
      severity: severity ?? known.severity,
      code,
      ...at.place,
      path: at.pathText,
      ...(route ? { virtual_host: route.virtualHost, route: route.route } : {}),
      problem,
      why: known.why,
      instead: imperative.test(instead) ? instead : `write ${instead}`,
    }
    const { file, line, column, path } = finding
    const key = JSON.stringify([code, file, line, column, path, route])
    if (!this.#found.has(key)) this.#found.set(key, finding)
  }

  /** Notes in one sentence what could not be compared. */
  readonly unchecked = (sentence: string): void => {
    this.#unchecked.add(sentence)
  }

  /** By file in the order given, then from top to bottom. */
  sorted(files: readonly string[]): Finding[] {
    const rank = new Map(files.map((file, i) => [file, i]))
    const of = (finding: Finding): number => rank.get(finding.file) ?? files.length
    return [...this.#found.values()].sort((a, b) => of(a) - of(b) || a.line - b.line || a.column - b.column)
  }

  get notCompared(): readonly string[] {
    return [...this.#unchecked]
  }
}
