/** With POSTERN_TEST_SAY=1 these tests print what they measured. */
export function say(text: string): void {
  if (process.env['POSTERN_TEST_SAY'] === '1') console.log(text)
}
