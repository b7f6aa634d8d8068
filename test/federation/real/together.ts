import type { Program } from '../../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'

/**
 * Starts programs that need each other, with a folder of their own: all of them, or none.
 * @param name of the whole, as an error calls it
 * @param start puts each program that it has started into `running`
 * @throws with the last lines of each program
 */
export async function startTogether<Started>(
  name: string,
  start: (folder: TemporaryFolder, running: Program[]) => Promise<Started>,
): Promise<Started & { readonly stop: () => Promise<void> }> {
  const folder = temporaryFolder(name.toLowerCase())
  const running: Program[] = []
  const stop = async (): Promise<void> => {
    for (const program of running.reverse()) await program.stop()
    folder.remove()
  }
  try {
    return { ...(await start(folder, running)), stop }
  } catch (error) {
    const said = running.map(({ stdout, stderr }) => [...stdout, ...stderr].slice(-15).join('\n')).join('\n')
    await stop()
    throw new Error(`${name} did not start:\n${said}`, { cause: error })
  }
}
