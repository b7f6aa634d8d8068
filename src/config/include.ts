import { glob } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Report } from './faults.ts'

/** What the routes of an included file are held to. */
export interface Owns {
  readonly hosts?: readonly string[] | undefined
  readonly prefix?: string | undefined
}

/** An included file. */
export interface Included {
  readonly path: string
  readonly owns: Owns | undefined
}

/**
 * Finds the files that `include` names, from the folder of the main file, sorted by path for each entry.
 * @param entries the raw list; entries of another form are left to the schema
 */
export async function findIncluded(main: string, entries: unknown, report: Report): Promise<Included[]> {
  if (!Array.isArray(entries)) return []
  const folder = dirname(resolve(main))
  const found = new Map<string, Included>()
  for (const [i, entry] of entries.entries()) {
    const pattern: unknown = typeof entry === 'object' && entry !== null ? entry.path : entry
    if (typeof pattern !== 'string' || pattern === '') continue
    const owns = typeof entry === 'object' && entry !== null ? (entry.owns as Owns | undefined) : undefined
    const paths: string[] = []
    for await (const match of glob(pattern, { cwd: folder })) paths.push(resolve(folder, match))
    const path = typeof entry === 'object' ? ['include', i, 'path'] : ['include', i]
    if (paths.length === 0) report(path, `"${pattern}" matches no file: expected at least one, counted from the folder of this file`)
    for (const file of paths.sort()) {
      if (found.has(file) || file === resolve(main)) report(path, `"${file}" is included twice: expected each file once`)
      else found.set(file, { path: file, owns })
    }
  }
  return [...found.values()]
}

/** Whether a host lies within what a file owns: the same, or under an owned `*.suffix`. */
function ownsHost(owned: string, host: string): boolean {
  const own = owned.toLowerCase()
  return own === host || (own.startsWith('*.') && host.replace(/^\*/, '').endsWith(own.slice(1)))
}

/** What is wrong with a route's host and path in a file that is held to `owns`: sentences by setting. */
export function outside(
  owns: Owns,
  host: string | undefined,
  path: string,
): { readonly setting: 'host' | 'path'; readonly message: string }[] {
  const faults: { setting: 'host' | 'path'; message: string }[] = []
  if (owns.hosts && !(host !== undefined && owns.hosts.some((own) => ownsHost(own, host))))
    faults.push({
      setting: 'host',
      message: `this file owns the hosts ${owns.hosts.join(', ')} alone: expected one of them, found ${host ?? 'any host'}`,
    })
  const prefix = owns.prefix?.replace(/\/+$/, '')
  if (prefix !== undefined && path !== prefix && !path.startsWith(`${prefix}/`))
    faults.push({ setting: 'path', message: `this file owns the paths under ${prefix}/ alone: expected one of them` })
  return faults
}
