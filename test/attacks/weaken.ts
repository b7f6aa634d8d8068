import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { z } from 'zod'
import { temporaryFolder } from '../support/temporary-folder.ts'
import type { CaseClass } from './case.ts'
import { runCorpus } from './corpus.ts'
import { handedOut } from './handed.ts'
import type { Result } from './run.ts'
import { servePostern } from './serve.ts'
import { startWorld, type World } from './world.ts'

const edit = { find: z.string().min(1), replace: z.string() }
const weakening = z.strictObject({
  /** What is weakened: a stage, the wire, or a validator. */
  stage: z.string(),
  name: z.string(),
  /** Below src/. */
  file: z.string(),
  ...edit,
  also: z.strictObject({ ...edit, file: z.string().optional() }).optional(),
})
export type Weakening = z.output<typeof weakening>

const checkout = fileURLToPath(new URL('../../', import.meta.url))

/** test/attacks/weakenings.yaml */
export const readWeakenings = (): Weakening[] =>
  z.array(weakening).parse(parse(readFileSync(fileURLToPath(new URL('weakenings.yaml', import.meta.url)), 'utf8')))

/** A copy of the sources, to be changed and run. */
export interface Copy {
  readonly main: string
  /** Changes a copy back to what it was. @throws where a text does not stand there exactly once */
  readonly apply: (one: Weakening) => () => void
  readonly remove: () => void
}

/** Copies src/ to a temporary folder, with what it needs beside it. */
export function copySources(): Copy {
  const folder = temporaryFolder()
  cpSync(join(checkout, 'src'), folder.file('src'), { recursive: true })
  for (const name of ['node_modules', 'proto', 'package.json']) symlinkSync(join(checkout, name), folder.file(name))
  const apply = (one: Weakening): (() => void) => {
    const before = new Map<string, string>()
    const undo = (): void => {
      for (const [path, text] of before) writeFileSync(path, text)
    }
    try {
      for (const { file = one.file, find, replace } of [{ ...one }, ...(one.also ? [{ file: one.file, ...one.also }] : [])]) {
        const path = folder.file(join('src', file))
        const text = readFileSync(path, 'utf8')
        const times = text.split(find).length - 1
        if (times !== 1) throw new Error(`${one.name}: ${JSON.stringify(find)} stands ${times} times in src/${file}, expected once`)
        if (!before.has(path)) before.set(path, text)
        writeFileSync(
          path,
          text.replace(find, () => replace),
        )
      }
    } catch (error) {
      undo()
      throw error
    }
    return undo
  }
  return { main: folder.file('src/main.ts'), apply, remove: folder.remove }
}

/** Runs the corpus against a copy. @returns the cases that broke */
export async function brokenBy(world: World, copy: Copy, classes: readonly CaseClass[]): Promise<Result[]> {
  await world.reset()
  const server = await servePostern(world, copy.main)
  try {
    const results = await runCorpus(world, classes, { strict: true, handed: await handedOut(world) })
    return results.filter(({ verdict }) => verdict === 'broken')
  } finally {
    await server.stop()
  }
}

/**
 * Applies one weakening after the other, and expects that the corpus notices each.
 * @param only the name of one, or of a stage
 * @returns exit code
 */
export async function weaken(classes: readonly CaseClass[], only: string | undefined, say: (text: string) => void): Promise<number> {
  const chosen = readWeakenings().filter(({ name, stage }) => only === undefined || name === only || stage === only)
  const copy = copySources()
  const world = await startWorld()
  const unnoticed: string[] = []
  try {
    const sound = await brokenBy(world, copy, classes)
    for (const { case: one, detail } of sound) say(`✗ without any weakening: ${one.class}: ${one.name}: ${detail.slice(0, 200)}`)
    if (sound.length > 0) return 1
    for (const one of chosen) {
      const problem = await noticed(world, copy, classes, one, say)
      if (problem !== undefined) unnoticed.push(`${one.stage}: ${one.name}: ${problem}`)
    }
  } finally {
    await world.stop()
    copy.remove()
  }
  say(`${chosen.length - unnoticed.length} of ${chosen.length} weakenings were noticed`)
  for (const line of unnoticed) say(`✗ ${line}`)
  return unnoticed.length === 0 ? 0 : 1
}

async function noticed(
  world: World,
  copy: Copy,
  classes: readonly CaseClass[],
  one: Weakening,
  say: (text: string) => void,
): Promise<string | undefined> {
  let undo: (() => void) | undefined
  try {
    undo = copy.apply(one)
    const broken = await brokenBy(world, copy, classes)
    if (broken.length === 0) return 'no case broke'
    const let_in = broken.filter(({ outcome }) => outcome?.kind === 'allow').length
    const example = broken.find(({ outcome }) => outcome?.kind === 'allow') ?? broken[0]!
    say(
      `✓ ${one.stage}: ${one.name}: ${broken.length} broke, ${let_in} of them let in, such as "${example.case.class}: ${example.case.name}"`,
    )
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 400) : String(error)
  } finally {
    undo?.()
  }
}
