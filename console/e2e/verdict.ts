import type { FullConfig, FullResult, Reporter, Suite, TestCase } from '@playwright/test/reporter';

/** Says in the last line how it went: passed means that every test ran and passed. */
export default class Verdict implements Reporter {
  private tests: TestCase[] = [];

  printsToStdio() {
    return false;
  }

  onBegin(_: FullConfig, suite: Suite) {
    this.tests = suite.allTests();
  }

  onEnd({ status }: FullResult) {
    const passed = this.tests.filter((test) => test.outcome() === 'expected');
    const isPassed =
      status === 'passed' && passed.length > 0 && passed.length === this.tests.length;
    const verdict = isPassed ? 'passed' : 'FAILED';
    process.stdout.write(
      `Browser tests ${verdict}: ${passed.length} of ${this.tests.length} ran and passed.\n`,
    );
    return Promise.resolve<Pick<FullResult, 'status'>>({ status: isPassed ? 'passed' : 'failed' });
  }
}
